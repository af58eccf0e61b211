//! Settling what was handed out.

use zephcast_core::driver::{Disposition, Settlement};
use zephcast_core::{Token, UnitId};

use super::dead_letters::Letter;
use super::{MemberId, Open};

impl Open<'_> {
    /// Settles, and returns what is no longer the member's. With `dead_letters` refused, what belongs there stays out.
    pub(crate) fn settle(&mut self, id: MemberId, settlement: &Settlement, dead_letters: bool) -> Vec<(UnitId, Token)> {
        let mut lost = Vec::new();
        for of_unit in &settlement.units {
            let number = of_unit.unit;
            self.settle_acked(id, number, &of_unit.acked, &mut lost);
            for (token, disposition) in &of_unit.others {
                if !self.holds(id, number, *token) {
                    lost.push((number, *token));
                } else if dead_letters || !matches!(disposition, Disposition::Dead { .. }) {
                    self.dispose(number, *token, disposition);
                }
            }
            if let Some(unit) = self.state.unit_mut(number) {
                unit.ring.forget_settled();
            }
        }
        if settlement.units.iter().any(|of_unit| !of_unit.others.is_empty()) {
            // Something may be there to be handed out again.
            self.stream.wake();
        }
        lost
    }

    fn settle_acked(&mut self, id: MemberId, number: UnitId, acked: &[Token], lost: &mut Vec<(UnitId, Token)>) {
        let Some(unit) = self.state.unit_mut(number).filter(|unit| unit.owner == Some(id)) else {
            lost.extend(acked.iter().map(|token| (number, *token)));
            return;
        };
        for token in acked {
            if unit.is_ours(*token) {
                unit.settle(*token);
            } else {
                lost.push((number, *token));
            }
        }
    }

    /// Puts one message where its disposition says.
    pub(super) fn dispose(&mut self, number: UnitId, token: Token, disposition: &Disposition) {
        let (now, stream) = (self.now, self.stream);
        let Some(unit) = self.state.unit_mut(number) else { return };
        let was_out = unit.dispose(token, disposition, &stream.log(number), now);
        if was_out && let Disposition::Dead { message, origin, attempts, failure, .. } = disposition {
            let origin = format!("{}@{origin}", stream.name());
            self.state.dead.push(Letter::new(number, token.0, message, *attempts, failure, origin));
        }
    }
}

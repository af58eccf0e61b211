//! Settling what was handed out.

use zephcast_core::driver::{Disposition, Settlement};
use zephcast_core::{Token, UnitId};

use super::dead_letters::Letter;
use super::unit::Settled;
use super::{MemberId, Open};

impl Open<'_> {
    /// Settles, and returns what is no longer the member's. With `dead_letters` refused, what belongs there stays out.
    pub(crate) fn settle(&mut self, id: MemberId, settlement: &Settlement, dead_letters: bool) -> Vec<(UnitId, Token)> {
        let mut lost = Vec::new();
        let mut wake = false;
        for of_unit in &settlement.units {
            let number = of_unit.unit;
            wake |= self.settle_acked(id, number, &of_unit.acked, &mut lost);
            for (token, disposition) in &of_unit.others {
                if !self.holds(id, number, *token) {
                    lost.push((number, *token));
                } else if dead_letters || !matches!(disposition, Disposition::Dead { .. }) {
                    wake |= self.dispose(number, *token, disposition);
                }
            }
            if let Some(unit) = self.state.unit_mut(number) {
                unit.ring.forget_settled();
            }
        }
        if wake {
            self.stream.wake();
        }
        lost
    }

    /// Settles what was acked; `true` when that lets something else out.
    fn settle_acked(&mut self, id: MemberId, number: UnitId, acked: &[Token], lost: &mut Vec<(UnitId, Token)>) -> bool {
        let Some(unit) = self.state.unit_mut(number).filter(|unit| unit.owner == Some(id)) else {
            lost.extend(acked.iter().map(|token| (number, *token)));
            return false;
        };
        let mut cleared = false;
        for token in acked {
            if unit.is_ours(*token) {
                cleared |= unit.settle(*token).is_some_and(|settled| settled.suspect);
            } else {
                lost.push((number, *token));
            }
        }
        cleared && self.suspicion_changed(id)
    }

    /// Puts one message where its disposition says; `true` when that lets something out.
    pub(super) fn dispose(&mut self, number: UnitId, token: Token, disposition: &Disposition) -> bool {
        let (now, stream) = (self.now, self.stream);
        let Some(unit) = self.state.unit_mut(number) else { return false };
        let owner = unit.owner;
        let settled = {
            let log = stream.log(number);
            unit.dispose(token, disposition, &log, now)
        };
        let Some(Settled { suspect, .. }) = settled else { return false };
        if let Disposition::Dead { message, origin, attempts, failure } = disposition {
            let origin = format!("{}@{origin}", stream.name());
            self.state.dead.push(Letter::new(number, token.0, message, *attempts, failure, origin));
        }
        if suspect
            && !matches!(disposition, Disposition::Keep { .. })
            && let Some(owner) = owner
        {
            self.suspicion_changed(owner);
        }
        !matches!(disposition, Disposition::Keep { .. } | Disposition::Dead { .. }) || suspect
    }

    /// Something about the suspects of this member's units changed: it is told again if some are left.
    pub(super) fn suspicion_changed(&mut self, id: MemberId) -> bool {
        if let Some(member) = self.state.roster.get_mut(id) {
            member.told_suspects = false;
        }
        true
    }
}

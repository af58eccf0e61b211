//! Settlements that are not acks, one call apart from them.

use std::sync::atomic::Ordering;

use crate::driver::{Disposition, Settlement, UnitSettlements};
use crate::{ErrorKind, Event, Result, Token, UnitId};

use super::super::core::Confirm;
use super::super::flight::Slot;
use super::{Other, Settling, answer, lease_lost};

impl Settling {
    pub(super) fn other(&mut self, slot: Slot, disposition: Disposition, done: Option<Confirm>) {
        let other = Other { slot, disposition, done };
        if other.slot.is_lost() {
            return self.too_late(other);
        }
        if !matches!(other.disposition, Disposition::Keep { .. }) {
            other.slot.slots.decide(other.slot.index);
        }
        self.others.insert(self.next_number, other);
        self.next_number += 1;
    }

    /// Writes everything that is not an ack; after a failure one by one, so that one bad message fails alone. When the
    /// broker is away the rest is not tried: each would take its own timeout, and acks wait behind this.
    pub(super) async fn flush_others(&mut self) {
        if self.others.is_empty() || !self.others_pace.may_go() {
            return;
        }
        let numbers: Vec<u64> = self.others.keys().copied().collect();
        let together = if self.others_pace.backoff.is_some() { 1 } else { numbers.len() };
        let mut failure = None;
        for batch in numbers.chunks(together) {
            if let Err(error) = self.settle_others(batch).await {
                let is_away = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
                failure = Some(error);
                if is_away {
                    break;
                }
            }
        }
        match failure {
            None => self.others_pace.succeeded(),
            Some(error) => {
                self.failed(&error);
                self.others_pace.failed();
            }
        }
    }

    /// What is known to be lost needs no call, and must not touch what is ours again by now.
    fn drop_lost_others(&mut self) {
        let is_lost = |_: &u64, other: &mut Other| other.slot.is_lost();
        for (_, other) in self.others.extract_if(.., is_lost).collect::<Vec<_>>() {
            self.too_late(other);
        }
    }

    async fn settle_others(&mut self, numbers: &[u64]) -> Result<()> {
        self.drop_lost_others();
        let mut settlement = Settlement { again: self.others_pace.backoff.is_some(), ..Settlement::default() };
        for other in numbers.iter().filter_map(|number| self.others.get(number)) {
            let (id, token) = other.slot.key();
            let entry = (token, other.disposition.clone());
            match settlement.units.iter_mut().find(|unit| unit.unit == id) {
                Some(unit) => unit.others.push(entry),
                None => {
                    let others = vec![entry];
                    settlement.units.push(UnitSettlements { others, ..UnitSettlements::new(id) });
                }
            }
        }
        if settlement.units.is_empty() {
            return Ok(());
        }
        let lost = self.settler.settle(&settlement).await?;
        for other in numbers.iter().filter_map(|number| self.others.remove(number)).collect::<Vec<_>>() {
            self.through(other, &lost);
        }
        self.core.room.notify_one();
        Ok(())
    }

    /// The broker has it, or another member does.
    fn through(&mut self, other: Other, lost: &[(UnitId, Token)]) {
        if lost.contains(&other.slot.key()) {
            return self.too_late(other);
        }
        let Other { slot, disposition, done } = other;
        let counters = &self.core.counters;
        match disposition {
            Disposition::Keep { .. } => return,
            Disposition::Dead { origin, failure, .. } => {
                counters.dead_lettered.fetch_add(1, Ordering::Relaxed);
                self.core.emit(Event::DeadLettered { position: origin, reason: failure.reason });
            }
            Disposition::Later { .. } => {
                counters.retried.fetch_add(1, Ordering::Relaxed);
            }
            Disposition::Return { .. } => {}
        }
        self.core.window().close(&slot.slots, slot.index);
        self.frontier_may_move = true;
        answer(done, Ok(()));
    }

    fn too_late(&mut self, other: Other) {
        if !matches!(other.disposition, Disposition::Keep { .. }) {
            self.lost_since_commit += 1;
            self.core.lose_other(&other.slot);
        }
        answer(other.done, Err(lease_lost()));
    }
}

//! Settlements that are not acks, one call apart from them.

use std::sync::atomic::Ordering;

use crate::driver::{Disposition, Settlement, UnitSettlements};
use crate::{Error, ErrorKind, Event, Result, Token, UnitId};

use super::super::core::Confirm;
use super::super::flight::Slot;
use super::{Other, Pace, Settling, answer, lease_lost};

impl Settling {
    pub(super) fn other(&mut self, slot: Slot, disposition: Disposition, done: Option<Confirm>) {
        let other = Other { slot, disposition, done, again: false, alone: None };
        if other.slot.is_lost() {
            return self.too_late(other);
        }
        if !matches!(other.disposition, Disposition::Keep { .. }) {
            other.slot.slots.decide(other.slot.index);
        }
        self.others.insert(self.next_number, other);
        self.next_number += 1;
    }

    /// Writes everything that is not an ack. When the broker is away the rest is not tried: each would take its own timeout,
    /// and acks wait behind this. What was refused is tried alone, so that one bad message fails alone.
    pub(super) async fn flush_others(&mut self) {
        if self.others.is_empty() || !self.others_pace.may_go() {
            return;
        }
        let due = |other: &&Other| other.alone.as_ref().is_none_or(Pace::may_go);
        let mut failure = None;
        let (mut together, mut again, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for (number, other) in self.others.iter().filter(|(_, other)| due(other)) {
            match (&other.alone, other.again) {
                (Some(_), _) => alone.push(vec![*number]),
                (None, true) => again.push(*number),
                (None, false) => together.push(*number),
            }
        }
        for batch in [again, together].into_iter().filter(|batch| !batch.is_empty()).chain(alone) {
            let Err(error) = self.settle_others(&batch).await else {
                self.others_pace.succeeded();
                continue;
            };
            let is_away = self.note_failure(&batch, &error);
            failure = Some(error);
            if is_away {
                self.others_pace.failed();
                break;
            }
        }
        // Told once, however many were refused.
        if let Some(error) = failure {
            self.failed(&error);
        }
    }

    /// What a failed call means for what was in it. Whether the broker is away.
    fn note_failure(&mut self, batch: &[u64], error: &Error) -> bool {
        let is_away = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
        let refused = !is_away && batch.len() == 1;
        for number in batch {
            let Some(other) = self.others.get_mut(number) else { continue };
            other.again = true;
            if !is_away {
                let pace = other.alone.get_or_insert_default();
                if refused {
                    pace.failed();
                }
            }
            if refused && !error.is_retryable() {
                answer(other.done.take(), Err(error.clone()));
            }
        }
        match (is_away, refused) {
            (true, _) => {}
            // Whoever waits for everything waits for this one too.
            (false, true) => self.refuse(error, |waiting| batch[0] < waiting.others_before),
            // Each is tried by itself now.
            (false, false) => self.core.settle.notify_one(),
        }
        is_away
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
        let again = numbers.iter().filter_map(|number| self.others.get(number)).any(|other| other.again);
        let mut settlement = Settlement { again, ..Settlement::default() };
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
        for number in numbers {
            if let Some(other) = self.others.remove(number) {
                self.through(*number, other, &lost);
            }
        }
        self.core.room.notify_one();
        Ok(())
    }

    /// The broker has it, or another member does.
    fn through(&mut self, number: u64, other: Other, lost: &[(UnitId, Token)]) {
        if lost.contains(&other.slot.key()) {
            return self.too_late(other);
        }
        let Other { slot, disposition, done, .. } = other;
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
        // Whoever waits for everything waits until the frontier has passed it.
        self.frontier_may_move = true;
        let next = self.sweeps + 1;
        for waiting in self.waiting.iter_mut().filter(|waiting| number < waiting.others_before) {
            waiting.sweep = waiting.sweep.max(next);
        }
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

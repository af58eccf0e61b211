//! Answers for those who wait until something is durable.

use std::sync::atomic::Ordering;

use super::{Awaited, Settling, answer, lease_lost, outcome_unknown};
use crate::Result;

impl Settling {
    /// What to tell of all that was settled since somebody asked the last time.
    fn since_last_commit(&mut self) -> Result<()> {
        let with_assignments = self.core.late_acks.swap(0, Ordering::SeqCst);
        let came_too_late = std::mem::take(&mut self.lost_since_commit) + with_assignments > 0;
        let is_unknown = std::mem::take(&mut self.unknown_since_commit);
        match (came_too_late, is_unknown) {
            (true, _) => Err(lease_lost()),
            (false, true) => Err(outcome_unknown()),
            (false, false) => Ok(()),
        }
    }

    /// Answers those for whom everything is durable. What is settled meanwhile is not theirs to wait for.
    pub(super) fn answer(&mut self) {
        let oldest = self.others.keys().next().copied().unwrap_or(u64::MAX);
        let mut everything = None;
        for waiting in std::mem::take(&mut self.waiting) {
            if oldest < waiting.others_before || self.durable_sweeps < waiting.sweep {
                self.waiting.push(waiting);
                continue;
            }
            if waiting.done.is_closed() {
                // What came too late is for somebody who listens.
                continue;
            }
            let result = match &waiting.what {
                // Its assignment may have ended since the broker has it.
                Awaited::Delivery(slot) if slot.is_gone() || (slot.is_lost() && !waiting.is_recorded) => {
                    Err(lease_lost())
                }
                Awaited::Everything => everything.get_or_insert_with(|| self.since_last_commit()).clone(),
                Awaited::Delivery(..) | Awaited::EverythingOrLost => Ok(()),
            };
            answer(Some(waiting.done), result);
        }
        if self.acks.is_none() && self.sweep_is_awaited() {
            // Something else was on its way to the broker when they asked: one more round.
            self.core.settle.notify_one();
        }
    }
}

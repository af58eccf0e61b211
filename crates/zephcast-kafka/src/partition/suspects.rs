//! Records that may have killed the partition's former owner: handed out one at a time, each counted before.

use zephcast_core::driver::Incoming;

use super::{Partition, offset_of};
use crate::place::Attempts;

impl Partition {
    /// Whether what comes next may have killed its former owner.
    pub(crate) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether a suspect is there to be handed out.
    pub(crate) fn suspect_waits(&self, now_ms: u64) -> bool {
        !self.is_stopped() && self.has_suspects() && self.next_suspect(now_ms).is_some()
    }

    /// The next suspect that is due.
    fn next_suspect(&self, now_ms: u64) -> Option<&Incoming> {
        let mut due = self.waiting.due(now_ms).map(|record| &record.incoming);
        match self.is_in_order() {
            true => due.next().filter(|incoming| self.suspects.contains(offset_of(incoming))),
            false => due.find(|incoming| self.suspects.contains(offset_of(incoming))),
        }
    }

    /// Counts the attempt that is about to begin. It is to be durable before the suspect is handed out. Known once at
    /// least: its former owner may have handed it out.
    pub(crate) fn accuse(&mut self, now_ms: u64) -> Option<i64> {
        let incoming = self.next_suspect(now_ms)?;
        let (offset, known) = (offset_of(incoming), Attempts { count: incoming.attempt, first_failed_ms: None });
        let attempts = self.attempts.entry(offset).or_insert(known);
        attempts.count += 1;
        self.version += 1;
        Some(offset)
    }

    /// The accusation came to nothing: the suspect was not handed out.
    pub(crate) fn acquit(&mut self, offset: i64) {
        if let Some(attempts) = self.attempts.get_mut(&offset) {
            attempts.count = attempts.count.saturating_sub(1);
            self.version += 1;
        }
    }

    /// Hands out the suspect that was accused.
    pub(crate) fn hand_out_suspect(&mut self, accused: i64, now_ms: u64) -> Option<Incoming> {
        if self.is_stopped() || !self.suspects.contains(accused) {
            return None;
        }
        let mut incoming = self.waiting.take_one(accused)?;
        let attempts = self.attempts(accused);
        incoming.attempt = attempts.count;
        incoming.first_failed_ms = attempts.first_failed_ms;
        incoming.suspect = true;
        incoming.redelivered = true;
        self.accused.insert(accused);
        self.note_handed(std::slice::from_ref(&incoming), now_ms);
        Some(incoming)
    }
}

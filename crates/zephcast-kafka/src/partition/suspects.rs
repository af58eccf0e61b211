//! Records that may have killed the partition's former owner: handed out one at a time, each counted before.

use zephcast_core::driver::Incoming;

use super::{Partition, offset_of};
use crate::place::Attempts;

impl Partition {
    /// Whether what comes next may have killed its former owner.
    pub(crate) fn has_suspects(&self) -> bool {
        self.next < self.suspects_until
    }

    /// Whether a suspect is there to be handed out.
    pub(crate) fn suspect_waits(&self) -> bool {
        !self.stopped && self.has_suspects() && self.next_suspect().is_some()
    }

    /// The offset of the next suspect.
    fn next_suspect(&self) -> Option<i64> {
        self.waiting.front().map(|record| offset_of(&record.incoming)).filter(|offset| *offset < self.suspects_until)
    }

    /// Counts the attempt that is about to begin. It is to be durable before the suspect is handed out. Known once at
    /// least: its former owner may have handed it out.
    pub(crate) fn accuse(&mut self) -> Option<i64> {
        let offset = self.next_suspect()?;
        let attempts = self.attempts.entry(offset).or_insert(Attempts { count: 1, first_failed_ms: None });
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
        self.next_suspect().filter(|offset| *offset == accused && !self.stopped)?;
        let mut incoming = self.waiting.pop_front()?.incoming;
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

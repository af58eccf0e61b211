//! The settlement record of one flight: bits that deliveries set on any thread and the member's task collects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::driver::Incoming;
use crate::{Token, UnitId};

/// One assignment of a unit. Whoever holds a delivery of a former assignment sees that it ended.
#[derive(Debug, Default)]
pub(crate) struct Epoch {
    /// The unit is being given up: nothing more of it is handed out. Set by the revocation.
    revoking: AtomicBool,
    /// The assignment ended: nothing of it can be settled any more. Set once.
    lost: AtomicBool,
}

impl Epoch {
    pub(crate) fn revoke(&self) {
        self.revoking.store(true, Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Whether deliveries of this assignment may still be handed out.
    pub(crate) fn hands_out(&self) -> bool {
        !self.revoking.load(Ordering::Acquire) && !self.is_lost()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// The deliveries of a flight, at most [`MOST`](Self::MOST): a bit of each in every word, and what is noted of single
/// ones.
#[derive(Debug)]
pub(crate) struct Slots {
    unit: UnitId,
    epoch: Arc<Epoch>,
    /// Set by `ack`, from any thread; collected by the window.
    acked: AtomicU64,
    /// Set by the member's task when it has a settlement other than an ack to write.
    decided: AtomicU64,
    /// Set by the member's task when another member has the message.
    gone: AtomicU64,
    entries: Vec<Entry>,
    total_bytes: usize,
    highest: Token,
}

/// What is noted of a single delivery. Whoever has the delivery writes it; it changes hands through locks.
#[derive(Debug)]
struct Entry {
    token: Token,
    bytes: usize,
    /// An earlier attempt failed, so the driver may have notes about it.
    had_failures: bool,
    /// Milliseconds of the member's clock at hand-out, at least 1; 0 while nobody has it.
    handed: AtomicU64,
    /// Which attempt the next or present hand-out is.
    attempt: AtomicU32,
    /// How often it was handed back without a failed attempt.
    handed_back: AtomicU32,
    /// Milliseconds since the Unix epoch of the first failed attempt; 0 while there is none.
    first_failed_ms: AtomicU64,
}

impl Entry {
    fn new(incoming: &Incoming, bytes: usize) -> Self {
        Self {
            token: incoming.token,
            bytes,
            had_failures: incoming.attempt > 1 || incoming.first_failed_ms.is_some(),
            handed: AtomicU64::new(0),
            attempt: AtomicU32::new(incoming.attempt),
            handed_back: AtomicU32::new(0),
            first_failed_ms: AtomicU64::new(incoming.first_failed_ms.unwrap_or(0)),
        }
    }
}

impl Slots {
    /// As many as a word has bits.
    pub(crate) const MOST: usize = u64::BITS as usize;

    /// The messages of a flight leave memory together, so this is what a delivery that is held for long keeps there
    /// besides its own.
    pub(crate) const MOST_BYTES: usize = 64 << 10;

    /// The record of as many of the first messages as make one flight, at least one.
    pub(crate) fn of_first(unit: UnitId, epoch: Arc<Epoch>, messages: &[Incoming]) -> Self {
        let mut entries: Vec<Entry> = Vec::with_capacity(messages.len().min(Self::MOST));
        let (mut total_bytes, mut highest) = (0, Token(0, 0));
        for incoming in messages.iter().take(Self::MOST) {
            let bytes = incoming.message.byte_len();
            if total_bytes + bytes > Self::MOST_BYTES && !entries.is_empty() {
                break;
            }
            total_bytes += bytes;
            highest = highest.max(incoming.token);
            entries.push(Entry::new(incoming, bytes));
        }
        let word = || AtomicU64::new(0);
        Self { unit, epoch, acked: word(), decided: word(), gone: word(), entries, total_bytes, highest }
    }

    pub(crate) fn unit(&self) -> UnitId {
        self.unit
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all of them together.
    pub(crate) fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    pub(crate) fn highest(&self) -> Token {
        self.highest
    }

    pub(crate) fn token(&self, index: usize) -> Token {
        self.entries[index].token
    }

    pub(crate) fn bytes(&self, index: usize) -> usize {
        self.entries[index].bytes
    }

    pub(crate) fn had_failures(&self, index: usize) -> bool {
        self.entries[index].had_failures
    }

    /// Records an ack. One atomic operation.
    pub(crate) fn ack(&self, index: usize) {
        self.acked.fetch_or(1 << index, Ordering::AcqRel);
    }

    /// The acks, a bit each.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Acquire)
    }

    pub(crate) fn is_acked(&self, index: usize) -> bool {
        self.acked() & (1 << index) != 0
    }

    /// Notes that a settlement other than an ack is on its way.
    pub(crate) fn decide(&self, index: usize) {
        self.decided.fetch_or(1 << index, Ordering::AcqRel);
    }

    /// Whether a settlement is on its way, or was.
    pub(crate) fn is_decided(&self, index: usize) -> bool {
        (self.acked() | self.decided.load(Ordering::Acquire)) & (1 << index) != 0
    }

    /// Notes that another member has the message.
    pub(crate) fn lose(&self, index: usize) {
        self.gone.fetch_or(1 << index, Ordering::AcqRel);
    }

    /// Whether the delivery is no longer ours, by itself or with its assignment.
    pub(crate) fn is_lost(&self, index: usize) -> bool {
        self.epoch.is_lost() || self.is_gone(index)
    }

    /// Whether another member has the message.
    pub(crate) fn is_gone(&self, index: usize) -> bool {
        self.gone.load(Ordering::Acquire) & (1 << index) != 0
    }

    pub(crate) fn hand_out(&self, index: usize, now_ms: u64) {
        self.entries[index].handed.store(now_ms.max(1), Ordering::Relaxed);
    }

    /// The delivery is back with the engine, which will hand it out again.
    pub(crate) fn take_back(&self, index: usize) {
        self.entries[index].handed.store(0, Ordering::Relaxed);
    }

    /// When it was handed out, if somebody has it.
    pub(crate) fn handed_at(&self, index: usize) -> Option<u64> {
        match self.entries[index].handed.load(Ordering::Relaxed) {
            0 => None,
            at => Some(at),
        }
    }

    /// Counts that it was handed back without a failed attempt, and says how often that was so far.
    pub(crate) fn count_hand_back(&self, index: usize) -> u32 {
        self.entries[index].handed_back.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn handed_back(&self, index: usize) -> u32 {
        self.entries[index].handed_back.load(Ordering::Relaxed)
    }

    pub(crate) fn attempt(&self, index: usize) -> u32 {
        self.entries[index].attempt.load(Ordering::Relaxed)
    }

    pub(crate) fn first_failed_ms(&self, index: usize) -> Option<u64> {
        match self.entries[index].first_failed_ms.load(Ordering::Relaxed) {
            0 => None,
            at => Some(at),
        }
    }

    /// An attempt failed and the next one is made by the same holder.
    pub(crate) fn next_attempt(&self, index: usize, now_ms: u64) {
        let entry = &self.entries[index];
        entry.attempt.fetch_add(1, Ordering::Relaxed);
        // The first failure stays.
        let _ = entry.first_failed_ms.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How many attempts count if it goes back now: one that nobody has was not tried.
    pub(crate) fn attempts_made(&self, index: usize) -> u32 {
        let attempt = self.attempt(index);
        if self.handed_at(index).is_some() { attempt } else { attempt.saturating_sub(1) }
    }
}

#[cfg(test)]
mod tests;

//! The settlement record of one fetched batch: bits that deliveries set on any thread and the member's task collects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

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

/// What the window must know of a delivery besides its bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) token: Token,
    pub(crate) bytes: u32,
    /// An earlier attempt failed, so the driver may have notes about it.
    pub(crate) had_failures: bool,
}

/// Bits of up to 64 neighbours, and what belongs to single ones.
#[derive(Debug)]
pub(crate) struct Slots {
    unit: UnitId,
    epoch: Arc<Epoch>,
    entries: Box<[Entry]>,
    /// Set by `ack`, from any thread; collected by the window.
    acked: Box<[AtomicU64]>,
    /// Set by the member's task when it has a settlement other than an ack to write.
    decided: Box<[AtomicU64]>,
    /// Set by the member's task when another member has the message.
    gone: Box<[AtomicU64]>,
    marks: Box<[Mark]>,
}

/// What is noted of a single delivery.
#[derive(Debug)]
struct Mark {
    /// Milliseconds of the member's clock at hand-out, at least 1; 0 while nobody has it.
    handed: AtomicU32,
    /// Which attempt the next or present hand-out is.
    attempt: AtomicU32,
}

impl Slots {
    pub(crate) fn new(unit: UnitId, epoch: Arc<Epoch>, entries: impl Iterator<Item = (Entry, u32)>) -> Self {
        let (entries, marks): (Vec<_>, Vec<_>) = entries
            .map(|(entry, attempt)| (entry, Mark { handed: AtomicU32::new(0), attempt: AtomicU32::new(attempt) }))
            .unzip();
        let words = entries.len().div_ceil(64);
        let zeros = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Self {
            unit,
            epoch,
            acked: zeros(),
            decided: zeros(),
            gone: zeros(),
            entries: entries.into(),
            marks: marks.into(),
        }
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

    pub(crate) fn entry(&self, index: usize) -> Entry {
        self.entries[index]
    }

    /// Records an ack. One atomic operation.
    pub(crate) fn ack(&self, index: usize) {
        self.acked[index / 64].fetch_or(1 << (index % 64), Ordering::AcqRel);
    }

    /// The acks of one word of 64 neighbours.
    pub(crate) fn acked_word(&self, word: usize) -> u64 {
        self.acked[word].load(Ordering::Acquire)
    }

    pub(crate) fn words(&self) -> usize {
        self.acked.len()
    }

    /// Notes that a settlement other than an ack is on its way.
    pub(crate) fn decide(&self, index: usize) {
        self.decided[index / 64].fetch_or(1 << (index % 64), Ordering::AcqRel);
    }

    /// Whether a settlement is on its way, or was.
    pub(crate) fn is_decided(&self, index: usize) -> bool {
        let word = self.acked_word(index / 64) | self.decided[index / 64].load(Ordering::Acquire);
        word & (1 << (index % 64)) != 0
    }

    /// Notes that another member has the message.
    pub(crate) fn lose(&self, index: usize) {
        self.gone[index / 64].fetch_or(1 << (index % 64), Ordering::AcqRel);
    }

    /// Whether the delivery is no longer ours, by itself or with its assignment.
    pub(crate) fn is_lost(&self, index: usize) -> bool {
        self.epoch.is_lost() || self.gone[index / 64].load(Ordering::Acquire) & (1 << (index % 64)) != 0
    }

    pub(crate) fn hand_out(&self, index: usize, now_ms: u32) {
        self.marks[index].handed.store(now_ms.max(1), Ordering::Relaxed);
    }

    /// The delivery is back with the engine, which will hand it out again.
    pub(crate) fn take_back(&self, index: usize) {
        self.marks[index].handed.store(0, Ordering::Relaxed);
    }

    /// When it was handed out, if somebody has it.
    pub(crate) fn handed_at(&self, index: usize) -> Option<u32> {
        match self.marks[index].handed.load(Ordering::Relaxed) {
            0 => None,
            at => Some(at),
        }
    }

    pub(crate) fn set_attempt(&self, index: usize, attempt: u32) {
        self.marks[index].attempt.store(attempt, Ordering::Relaxed);
    }

    /// How many attempts count if it goes back now: one that nobody has was not tried.
    pub(crate) fn attempts_made(&self, index: usize) -> u32 {
        let attempt = self.marks[index].attempt.load(Ordering::Relaxed);
        if self.handed_at(index).is_some() { attempt } else { attempt.saturating_sub(1) }
    }
}

impl AsRef<Self> for Slots {
    fn as_ref(&self) -> &Self {
        self
    }
}

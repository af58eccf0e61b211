//! What happens in a schedule, drawn from its seed.

use std::time::Duration;

use fastrand::Rng;

use crate::ledger::Move;

/// How the model broker gives messages to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Units are shared, entries are pending: as Redis.
    Shared,
    /// Each unit has one owner and a committed offset: as Kafka.
    Assigned,
}

/// What stays the same through a schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) flavour: Flavour,
    pub(crate) units: u32,
    pub(crate) lease: Duration,
    pub(crate) drain: Duration,
    pub(crate) prefetch: usize,
    pub(crate) prefetch_bytes: usize,
    pub(crate) attempts: u32,
    pub(crate) flush_count: u64,
    /// The only things that go wrong are messages that kill their process, and the innocent must not pay for it.
    pub(crate) killers: bool,
    /// For each operation, how many of a hundred calls go wrong.
    pub(crate) chances: [u8; 6],
    /// How many of a thousand fetches fail for good.
    pub(crate) forbidden: u16,
}

impl Setup {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let flavour = if rng.u8(0..5) < 3 { Flavour::Shared } else { Flavour::Assigned };
        let killers = flavour == Flavour::Shared && rng.u8(0..4) == 0;
        let mut chances = [0; 6];
        if !killers {
            chances = chances.map(|_: u8| [0, 0, 5, 15, 40][rng.usize(0..5)]);
        }
        Self {
            flavour,
            units: rng.u32(1..=3),
            lease: Duration::from_secs(2),
            drain: Duration::from_millis([100, 700, 3_000][rng.usize(0..3)]),
            prefetch: rng.usize(1..=8),
            prefetch_bytes: [1, 60, 200, 10_000][rng.usize(0..4)],
            attempts: if killers { 4 } else { rng.u32(1..=3) },
            flush_count: rng.u64(1..=4),
            killers,
            chances,
            forbidden: if !killers && rng.u8(0..8) == 0 { 20 } else { 0 },
        }
    }
}

/// What handlers do with a message, one decision after the other.
pub(crate) fn plan(rng: &mut Rng) -> Vec<Move> {
    let later = Move::NackAfter(rng.u64(0..800));
    match rng.u8(0..20) {
        0..10 => vec![Move::Ack],
        10 => vec![Move::Nack],
        11 => vec![Move::Nack; 5],
        12 => vec![Move::Drop, Move::Nack],
        13 => vec![later, Move::Ack],
        14 => vec![Move::Fail],
        15 => vec![Move::Fail, Move::Drop, later, Move::Fail],
        16 => vec![Move::Reject],
        17 => vec![Move::Nack, later, Move::Reject],
        18 => vec![Move::Fail; 3],
        _ => vec![Move::Drop],
    }
}

/// One step of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Publish,
    Join,
    Receive,
    Settle,
    Confirm,
    Commit,
    Close,
    Abandon,
    Kill,
    Cut,
    Expire,
    Shuffle,
    Wait,
}

impl Step {
    pub(crate) fn draw(rng: &mut Rng, killers: bool) -> Self {
        match rng.u8(0..if killers { 74 } else { 86 }) {
            0..10 => Self::Publish,
            10..16 => Self::Join,
            16..38 => Self::Receive,
            38..55 => Self::Settle,
            55..60 => Self::Confirm,
            60..64 => Self::Commit,
            64..67 => Self::Close,
            67..74 => Self::Wait,
            74 => Self::Abandon,
            75 => Self::Kill,
            76..79 => Self::Cut,
            79..82 => Self::Expire,
            _ => Self::Shuffle,
        }
    }
}

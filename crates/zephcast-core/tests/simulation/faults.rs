//! What can go wrong between a client and the broker, drawn from the seed and counted.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

/// How often what went wrong or was done, over all schedules.
pub(crate) type Tally = BTreeMap<String, u64>;

/// What a client asks of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Publish,
    Join,
    Fetch,
    Settle,
    Renew,
    Leave,
}

/// One call that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and nothing is done.
    Refuse,
    /// It is done, and fails all the same.
    LoseReply,
    /// It is done at once; the answer takes this long.
    Late(Duration),
    /// It is done after this long.
    Slow(Duration),
    /// Nothing is done, and that takes its time.
    Hang,
    /// It fails for good: only fetches do.
    Forbid,
}

/// How a process is connected to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// Every call fails at once.
    Refused,
    /// Every call hangs.
    BlackHole,
    /// The process is no more.
    Dead,
}

/// The draws of one schedule.
#[derive(Debug)]
pub(crate) struct Faults {
    rng: Rng,
    /// For each operation, out of a hundred calls.
    chances: [u8; 6],
    /// Out of a thousand fetches.
    forbidden: u16,
    pub(crate) tally: Tally,
}

impl Faults {
    pub(crate) fn new(seed: u64, chances: [u8; 6], forbidden: u16) -> Self {
        Self { rng: Rng::with_seed(seed), chances, forbidden, tally: Tally::new() }
    }

    /// What happens to this call.
    pub(crate) fn draw(&mut self, operation: Operation) -> Option<Fault> {
        if operation == Operation::Fetch && self.rng.u16(0..1_000) < self.forbidden {
            self.count("fetch: forbid");
            return Some(Fault::Forbid);
        }
        if self.rng.u8(0..100) >= self.chances[operation as usize] {
            return None;
        }
        let delay = Duration::from_millis(self.rng.u64(1..1_500));
        let (fault, name) = match self.rng.u8(0..6) {
            0 | 1 => (Fault::Refuse, "refuse"),
            2 => (Fault::LoseReply, "lose reply"),
            3 => (Fault::Late(delay), "late reply"),
            4 => (Fault::Slow(delay), "slow"),
            _ => (Fault::Hang, "hang"),
        };
        self.count(&format!("{}: {name}", format!("{operation:?}").to_lowercase()));
        Some(fault)
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&mut self) {
        self.chances = [0; 6];
        self.forbidden = 0;
    }

    pub(crate) fn count(&mut self, what: &str) {
        match self.tally.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.tally.insert(what.to_owned(), 1)),
        }
    }

    /// A choice of the broker's own, from 1 to `most`.
    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        self.rng.usize(1..=most.max(1))
    }
}

//! When something may come twice, and how much: what a fault ended the lease of, and nothing else.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use zephcast_conformance::history::{Findings, Repeat};

use super::suspects::Spell;
use super::{LEASE, PREFETCH};

/// How long after a fault's end something can come twice because of it: the lease of a member that died just after it
/// renewed, and the look that finds what it held. Beyond, only while the server says that suspects wait.
pub(crate) const AFTERMATH: Duration = LEASE.saturating_mul(3);
/// An ack is written within milliseconds, and a page of the command is printed in one go: what was handled longer than
/// this before the fault was not in flight any more.
const IN_FLIGHT: Duration = LEASE;

/// A fault that ended leases, or may have.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) fault: String,
    pub(crate) from: Instant,
    /// When its aftermath is over.
    pub(crate) until: Instant,
    /// How many members' leases it can have ended.
    pub(crate) members: usize,
}

impl Window {
    pub(crate) fn new(fault: String, from: Instant, ended: Instant, members: usize) -> Self {
        Self { fault, from, until: ended + AFTERMATH, members }
    }

    /// Lasts for as long as suspects waited who were there in the aftermath, and until the last of them was handled.
    pub(crate) fn prolong(&mut self, spells: &[Spell]) {
        let mine = spells.iter().filter(|(begin, end)| *begin <= self.until && *end >= self.from);
        self.until = mine.map(|(_, end)| *end + LEASE).fold(self.until, Instant::max);
    }

    fn explains(&self, repeat: &Repeat) -> bool {
        // A settlement that was confirmed before the fault is final. During it, a member that was cut off may go on with
        // what another has taken over and settled meanwhile.
        let earliest = if repeat.settled_before { Some(self.from) } else { self.from.checked_sub(IN_FLIGHT) };
        (self.from..=self.until).contains(&repeat.again) && earliest.is_none_or(|earliest| repeat.first >= earliest)
    }

    /// What those members can have had in their hands.
    fn most(&self) -> usize {
        self.members * PREFETCH
    }
}

/// Whether every repeat is one that a fault explains, and no fault has more of them than could be in flight.
pub(crate) fn check(findings: &Findings, windows: &[Window]) -> Result<Vec<usize>, String> {
    let mut repeats = vec![0; windows.len()];
    for repeat in findings.repeated.iter().filter(|repeat| !repeat.maybe_published_twice) {
        // Of two faults close together the later one interrupted it.
        let Some(at) = windows.iter().rposition(|window| window.explains(repeat)) else {
            return Err(format!("delivered again, and no fault explains it: {repeat:?}; {}", nearest(repeat, windows)));
        };
        repeats[at] += 1;
    }
    for (window, count) in windows.iter().zip(&repeats) {
        if *count > window.most() {
            return Err(format!("{count} repeats after {window:?}, and {} were in flight at most", window.most()));
        }
    }
    Ok(repeats)
}

/// For how long of this time nothing may come twice.
pub(crate) fn calm(windows: &[Window], begin: Instant, end: Instant) -> Duration {
    let (mut calm, mut since) = (Duration::ZERO, begin);
    for window in windows {
        calm += window.from.saturating_duration_since(since);
        since = since.max(window.until);
    }
    calm + end.saturating_duration_since(since)
}

/// The last fault before the repeat, and how long before.
fn nearest(repeat: &Repeat, windows: &[Window]) -> String {
    match windows.iter().rfind(|window| window.from <= repeat.again) {
        Some(window) => format!(
            "first {:.3} s and again {:?} after the begin of {}, whose aftermath was over after {:?}",
            signed(repeat.first, window.from),
            repeat.again - window.from,
            window.fault,
            window.until - window.from,
        ),
        None => "no fault had been yet".to_owned(),
    }
}

/// Seconds from `begin` to `at`, which may lie before it.
fn signed(at: Instant, begin: Instant) -> f64 {
    at.saturating_duration_since(begin).as_secs_f64() - begin.saturating_duration_since(at).as_secs_f64()
}

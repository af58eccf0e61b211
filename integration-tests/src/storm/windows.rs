//! When something may come twice, and how much: what a fault ended the lease of, and nothing else.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use zephcast_conformance::history::{Findings, Repeat};

use super::Terms;

/// From when to when, without a gap of more than a lease.
pub type Spell = (Instant, Instant);

/// A fault that ended leases, or may have.
#[derive(Clone, Debug)]
pub struct Window {
    fault: String,
    from: Instant,
    /// When its aftermath is over.
    until: Instant,
    /// What those whose leases it can have ended can have had in their hands.
    most: usize,
    in_flight: Duration,
    lease: Duration,
}

impl Window {
    /// Of a fault that can have ended so many members' leases.
    pub fn new(terms: Terms, fault: String, from: Instant, ended: Instant, members: usize) -> Self {
        let Terms { lease, prefetch, aftermath, in_flight, .. } = terms;
        Self { fault, from, until: ended + aftermath, most: members * prefetch, in_flight, lease }
    }

    /// Lasts for as long as suspects waited who were there in the aftermath, and until the last of them was handled.
    pub fn prolong(&mut self, spells: &[Spell]) {
        let mine = spells.iter().filter(|(begin, end)| *begin <= self.until && *end >= self.from);
        self.until = mine.map(|(_, end)| *end + self.lease).fold(self.until, Instant::max);
    }

    fn explains(&self, repeat: &Repeat) -> bool {
        // A settlement that was confirmed before the fault is final. During it, a member that was cut off may go on with
        // what another has taken over and settled meanwhile.
        let earliest = if repeat.settled_before { Some(self.from) } else { self.from.checked_sub(self.in_flight) };
        (self.from..=self.until).contains(&repeat.again) && earliest.is_none_or(|earliest| repeat.first >= earliest)
    }
}

/// Whether every repeat is one that a fault explains, and no fault has more of them than could be in flight: how many
/// each has.
///
/// # Errors
/// The first repeat for which that does not hold.
pub fn check(findings: &Findings, windows: &[Window]) -> Result<Vec<usize>, String> {
    let mut repeats = vec![0; windows.len()];
    for repeat in findings.repeated.iter().filter(|repeat| !repeat.maybe_published_twice) {
        // Of two faults close together the later one interrupted it.
        let Some(at) = windows.iter().rposition(|window| window.explains(repeat)) else {
            return Err(format!("delivered again, and no fault explains it: {repeat:?}; {}", nearest(repeat, windows)));
        };
        repeats[at] += 1;
    }
    for (window, count) in windows.iter().zip(&repeats) {
        if *count > window.most {
            return Err(format!("{count} repeats after {window:?}, and {} were in flight at most", window.most));
        }
    }
    Ok(repeats)
}

/// For how long of this time nothing may come twice.
pub fn calm(windows: &[Window], begin: Instant, end: Instant) -> Duration {
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

//! Points in time that lie a given duration ahead, however long that is.

use std::time::Duration;

use tokio::time::Instant;

/// A century. What is longer does not end in a process's life, and would not fit into an instant.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// The instant `delay` after `now`, at most the [`LONGEST`] one.
#[must_use]
pub fn after(now: Instant, delay: Duration) -> Instant {
    now + delay.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_without_an_end_is_no_panic() {
        let now = Instant::now();
        assert!(after(now, Duration::MAX) > after(now, Duration::from_secs(1)));
    }
}

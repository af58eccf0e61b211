//! Points in time that lie a given duration ahead, however long that is.

use std::time::Duration;

use tokio::time::Instant;

/// What a duration beyond the clock's range stands for.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// So long from now; `Duration::MAX` means never.
pub(crate) fn after(duration: Duration) -> Instant {
    Instant::now() + duration.min(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_without_an_end_is_no_panic() {
        assert!(after(Duration::MAX) > after(Duration::from_secs(1)));
    }
}

//! A steady rate.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Spreads messages evenly; one that comes late makes those after it wait less.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    per_second: f64,
    taken: u64,
}

impl Pace {
    pub(crate) fn new(per_second: f64) -> Self {
        Self { start: Instant::now(), per_second, taken: 0 }
    }

    /// Resolves when the next one is due, with the time at which it was.
    pub(crate) async fn next(&mut self) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "exact for the first 2^53 messages")]
        let due = self.start + Duration::from_secs_f64(self.taken as f64 / self.per_second);
        self.taken += 1;
        sleep_until(due).await;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_kept_over_many_messages() {
        let (start, mut pace) = (Instant::now(), Pace::new(250.0));
        for _ in 0..=500 {
            pace.next().await;
        }
        let took = start.elapsed();
        assert!((2_000..2_010).contains(&took.as_millis()), "{took:?}");
    }
}

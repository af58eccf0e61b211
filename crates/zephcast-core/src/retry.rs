//! How often and after how long a failed message is tried again.

use std::time::Duration;

use tokio::time::Instant;

/// When a failed attempt is repeated, and after how many attempts the message goes to the dead letters.
///
/// Delays grow exponentially and are drawn with full jitter, uniformly between zero and the current ceiling, so that
/// messages that failed together do not come back together (Brooker, "Exponential Backoff And Jitter", AWS
/// Architecture Blog, 2015).
///
/// ```
/// use std::time::Duration;
/// use zephcast_core::Retry;
///
/// let retry = Retry::exponential(Duration::from_millis(200)).max_attempts(5);
/// assert_eq!(retry.ceiling(1), Duration::from_millis(200));
/// assert_eq!(retry.ceiling(3), Duration::from_millis(800));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    base: Duration,
    max_delay: Duration,
    max_attempts: u32,
}

impl Retry {
    /// Doubles the ceiling of the delay from `base` on, up to a minute, and gives up after 5 attempts.
    #[must_use]
    pub fn exponential(base: Duration) -> Self {
        Self { base, max_delay: Duration::from_secs(60), max_attempts: 5 }
    }

    /// Never tries again: the first failure goes to the dead letters.
    #[must_use]
    pub fn never() -> Self {
        Self::exponential(Duration::ZERO).max_attempts(1)
    }

    /// After this many attempts in all the message goes to the dead letters. Default 5; 0 counts as 1.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// The longest ceiling of a delay. Default 60 s.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// How many attempts there are in all.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.max_attempts
    }

    /// The ceiling of the delay after `failures` failed attempts (from 1).
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.base.saturating_mul(factor).min(self.max_delay)
    }

    /// A delay after `failures` failed attempts, drawn between zero and the [`ceiling`](Self::ceiling).
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64(fastrand::f64())
    }
}

/// 200 ms, doubling up to a minute, 5 attempts.
impl Default for Retry {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(200))
    }
}

/// Delays between attempts to reach a broker that is away: full jitter from 100 ms to 10 s, without an end.
#[derive(Clone, Debug)]
pub(crate) struct Reconnect {
    policy: Retry,
    failures: u32,
    /// Since when it has worked.
    works_since: Option<Instant>,
}

impl Reconnect {
    pub(crate) fn new() -> Self {
        let policy = Retry::exponential(Duration::from_millis(100)).max_delay(Duration::from_secs(10));
        Self { policy, failures: 0, works_since: None }
    }

    /// The delay before the next attempt. It grows on over successes that did not last as long as the last delay could
    /// be: a server that lets one connect and refuses everything else is not asked in a hot loop.
    pub(crate) fn failed(&mut self) -> Duration {
        let lasted = self.works_since.take().map(|since| since.elapsed());
        if lasted.is_some_and(|lasted| lasted >= self.policy.ceiling(self.failures)) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        // Never zero: a refused connection must not become a hot loop.
        self.policy.delay(self.failures).max(Duration::from_millis(10))
    }

    pub(crate) fn succeeded(&mut self) {
        self.works_since.get_or_insert_with(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_its_bound_and_never_overflows() {
        let retry = Retry::exponential(Duration::from_millis(200)).max_delay(Duration::from_secs(1));
        let ceilings: Vec<_> = (1..=5).map(|n| retry.ceiling(n).as_millis()).collect();
        assert_eq!(ceilings, [200, 400, 800, 1000, 1000]);
        assert_eq!(retry.ceiling(u32::MAX), Duration::from_secs(1));
        for failures in 1..100 {
            assert!(retry.delay(failures) <= retry.ceiling(failures));
        }
    }

    /// Full jitter is uniform: a tenth of the draws in each tenth of the ceiling, within a third of that.
    fn assert_full_jitter(ceiling: Duration, draw: impl Fn() -> Duration) {
        const DRAWS: usize = 10_000;
        // The same draws each time.
        fastrand::seed(7);
        let mut tenths = [0_usize; 10];
        for _ in 0..DRAWS {
            let delay = draw();
            assert!(delay > Duration::ZERO && delay <= ceiling, "{delay:?} of {ceiling:?}");
            tenths[((delay.as_secs_f64() / ceiling.as_secs_f64() * 10.0) as usize).min(9)] += 1;
        }
        let even = DRAWS / 10 * 2 / 3..DRAWS / 10 * 4 / 3;
        assert!(tenths.iter().all(|count| even.contains(count)), "up to {ceiling:?}: {tenths:?}");
    }

    #[test]
    fn delays_are_spread_evenly_from_nothing_to_the_ceiling() {
        let retry = Retry::exponential(Duration::from_millis(200)).max_delay(Duration::from_secs(1));
        for failures in [1, 2, 3, 4, 40] {
            assert_full_jitter(retry.ceiling(failures), || retry.delay(failures));
        }
    }

    #[test]
    fn delays_between_reconnects_are_spread_as_evenly() {
        for (failures, ceiling) in [(3, 400), (5, 1_600), (8, 10_000), (30, 10_000)] {
            // From the third on, where the least delay is less than a tenth of the ceiling.
            assert_full_jitter(Duration::from_millis(ceiling), || {
                let mut reconnect = Reconnect::new();
                reconnect.failures = failures - 1;
                reconnect.failed()
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn delays_grow_over_successes_that_do_not_last() {
        let mut reconnect = Reconnect::new();
        for _ in 0..20 {
            reconnect.failed();
            reconnect.succeeded();
        }
        assert_eq!(reconnect.failures, 20);
        reconnect.succeeded();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(reconnect.failed() <= Duration::from_millis(100));
        assert_eq!(reconnect.failures, 1);
    }

    #[test]
    fn reconnecting_never_becomes_a_hot_loop_nor_waits_beyond_ten_seconds() {
        let mut reconnect = Reconnect::new();
        for _ in 0..1_000 {
            let delay = reconnect.failed();
            assert!((Duration::from_millis(10)..=Duration::from_secs(10)).contains(&delay));
        }
    }
}

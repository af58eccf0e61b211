//! The fence: until when, by the server's clock, nobody can have taken over what this member holds.
//!
//! Others take an entry when it was not renewed for the member's lease. Everything that is held was delivered or renewed
//! at or after the renewal before the last one, so until that moment plus the lease an ack needs no look at each entry's
//! owner.

use zephcast_core::driver::LONGEST;

use std::time::Duration;

/// See the module. Times are the server's, in milliseconds.
#[derive(Debug)]
pub(crate) struct Fence {
    lease: u64,
    /// The renewal before the last one.
    base: u64,
    last: u64,
    /// Renewals so far; tells how long a read was on its way.
    renewals: u64,
    /// Before this many renewals nothing is certain.
    certain_from: u64,
}

impl Fence {
    pub(crate) fn new(lease: Duration) -> Self {
        let lease = u64::try_from(lease.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
        Self { lease, base: 0, last: 0, renewals: 0, certain_from: 0 }
    }

    /// The member joined. The first time it holds nothing yet.
    pub(crate) fn begin(&mut self, now: u64, holds: bool) {
        (self.base, self.last) = (now, now);
        if holds {
            self.doubt();
        }
    }

    /// Everything that is held was renewed at this moment.
    pub(crate) fn renewed(&mut self, now: u64) {
        (self.base, self.last) = (self.last, now);
        self.renewals += 1;
    }

    pub(crate) fn renewals(&self) -> u64 {
        self.renewals
    }

    /// Something arrived that was asked for when there were so many renewals. If several passed since, it may have been
    /// on its way for long: until it was renewed twice, nothing is certain.
    pub(crate) fn arrived(&mut self, renewals_when_asked: u64) {
        if self.renewals >= renewals_when_asked + 2 {
            self.doubt();
        }
    }

    /// Something is held that renewals do not keep: until everything was renewed twice, nothing is certain.
    pub(crate) fn doubt(&mut self) {
        self.certain_from = self.renewals + 2;
    }

    /// From when until when an ack is safe without a look at the owner, if the server has known this member for all of
    /// that time. Ends at 0 when it never is.
    pub(crate) fn certain(&self) -> (u64, u64) {
        if self.renewals < self.certain_from {
            return (self.base, 0);
        }
        (self.base, (self.base.saturating_add(self.lease)).saturating_sub(self.lease / 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_follows_the_renewal_before_the_last() {
        let mut fence = Fence::new(Duration::from_secs(30));
        fence.begin(1_000, false);
        assert_eq!(fence.certain(), (1_000, 28_000));
        fence.renewed(11_000);
        assert_eq!(fence.certain(), (1_000, 28_000), "what was read just before may not have been renewed");
        fence.renewed(21_000);
        assert_eq!(fence.certain(), (11_000, 38_000));
        fence.begin(22_000, true);
        assert_eq!(fence.certain().1, 0, "what is held was delivered before");
    }

    #[test]
    fn a_lease_without_an_end_is_one_of_a_century() {
        let mut fence = Fence::new(Duration::MAX);
        fence.begin(1_763_800_000_000, false);
        assert!((1_763_800_000_001..1 << 53).contains(&fence.certain().1));
    }

    #[test]
    fn what_was_long_on_its_way_makes_everything_doubtful() {
        let mut fence = Fence::new(Duration::from_secs(30));
        fence.begin(1_000, false);
        let asked = fence.renewals();
        fence.renewed(2_000);
        fence.arrived(asked);
        assert!(fence.certain().1 > 0);
        fence.renewed(3_000);
        fence.arrived(asked);
        assert_eq!(fence.certain().1, 0);
        fence.renewed(4_000);
        assert_eq!(fence.certain().1, 0);
        fence.renewed(5_000);
        assert_eq!(fence.certain().1, 4_000 + 27_000);
    }
}

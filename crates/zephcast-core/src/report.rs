//! What a consumer did until it left.

use std::time::Duration;

/// The account of a consumer's or group's life, given by `close`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseReport {
    /// Deliveries handed out, redeliveries included.
    pub delivered: u64,
    /// Acked, and handed to the broker. What the broker had not confirmed at the end is among them, and comes again; then
    /// the end is not [`clean`](Self::clean), or its [loss](crate::Event::Lost) was told.
    pub acked: u64,
    /// Given back unsettled on leaving: not started, or unfinished at the deadline. What was settled and did not reach the
    /// broker is not among them; it comes again too, and then the end is not [`clean`](Self::clean).
    pub returned: u64,
    /// Of those, the ones that a handler had and did not settle before the deadline.
    pub unfinished: u64,
    /// Sent to the dead letters.
    pub dead_lettered: u64,
    /// Scheduled for a later attempt.
    pub retried: u64,
    /// Dropped without a settlement and delivered again.
    pub dropped: u64,
    /// Settlements that came too late.
    pub lease_lost: u64,
    /// Whether everything handed out was settled, every settlement reached the broker, and the member left in good
    /// order within the deadline.
    pub clean: bool,
    /// How long closing took.
    pub duration: Duration,
}

impl CloseReport {
    /// Adds another member's account to this one.
    #[must_use]
    pub fn merge(self, other: &Self) -> Self {
        Self {
            delivered: self.delivered + other.delivered,
            acked: self.acked + other.acked,
            returned: self.returned + other.returned,
            unfinished: self.unfinished + other.unfinished,
            dead_lettered: self.dead_lettered + other.dead_lettered,
            retried: self.retried + other.retried,
            dropped: self.dropped + other.dropped,
            lease_lost: self.lease_lost + other.lease_lost,
            clean: self.clean && other.clean,
            duration: self.duration.max(other.duration),
        }
    }
}

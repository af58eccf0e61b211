//! What happens to a member, as it happens.

use std::time::Duration;

use crate::{Error, Position, UnitId};

/// Something that happened to a consumer, in the order it happened. See [`Consumer::events`](crate::Consumer::events).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// These units are now this member's. Where units are shared, said once after joining.
    Assigned(Vec<UnitId>),
    /// These units were given up in good order: what ran was finished and settled first.
    Revoked(Vec<UnitId>),
    /// These units were taken away: what was in flight is, or will be, with another member.
    Lost(Vec<UnitId>),
    /// The broker cannot be reached; it is being tried again without an end. On Kafka, one that is back within about a second
    /// may have been away without a word: that cost nothing but the time.
    Disconnected(Error),
    /// The broker is reachable again after this long.
    Reconnected(Duration),
    /// A settlement came too late: the message is with another member.
    LeaseLost(Position),
    /// A delivery has been unsettled for longer than the lease. Raised again each lease period while it lasts.
    Stuck {
        /// How long it has been handed out.
        oldest: Duration,
    },
    /// Deliveries were given back, since they had been unsettled for almost as long as the broker lets anybody hold one: they
    /// come again, to whomever, while handlers may still work on them. Told on RabbitMQ only.
    GivenBack {
        /// How many.
        count: usize,
        /// For how long the broker lets a delivery be held.
        limit: Duration,
    },
    /// Messages that the group had not settled are gone from the broker: trimmed, expired or deleted.
    Missing {
        /// The unit in which they were.
        unit: UnitId,
        /// How many.
        count: u64,
    },
    /// The group's place was not in the stream any more, or not yet: the broker's log begins after it or ends before it, since it
    /// was trimmed, cut or made anew. Reading went on elsewhere, as the setting `out_of_range` says. Told on Kafka only.
    OutOfRange {
        /// Where the group was.
        from: Position,
        /// Where it went on.
        to: Position,
    },
    /// A node of the cluster, `HOST:PORT`, is away, while others may be there: what it leads waits for it, or for another
    /// to lead it. Told by Kafka some 8 s after it was lost.
    NodeDown(String),
    /// A node, `HOST:PORT`, that was away is back. Told when there is something to ask of it again, which can be half a minute
    /// later where others lead what it led.
    NodeUp(String),
    /// A node of the cluster makes this client wait, since it is over its quota. Raised again while it lasts, by Kafka each
    /// 4 s.
    Throttled {
        /// Which one, `HOST:PORT`.
        node: String,
        /// The longest that an answer was held back since this was looked at before.
        delay: Duration,
    },
    /// The broker takes no messages for now, as with too little memory or disk, for the reason that it gives: what is
    /// published waits, and so does what the group sends on, such as retries and dead letters. Told on RabbitMQ only, to the
    /// members of a client that published something.
    Blocked(String),
    /// The broker takes messages again, after this long.
    Unblocked(Duration),
    /// The group was gone from the broker, by a deletion or with the broker's data, and was created again where it had
    /// begun. What it had settled comes again if the stream still has it; what was lost with it nobody can count. Told by
    /// each member that found the group gone.
    Recreated,
    /// A message went to the dead letters.
    DeadLettered {
        /// Where it was.
        position: Position,
        /// Why.
        reason: String,
    },
    /// Settlements could not be written for now; they are kept and tried again.
    SettleFailed(Error),
}

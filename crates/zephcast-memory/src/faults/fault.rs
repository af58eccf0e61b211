//! One fault: what goes wrong, for whom, and for how long.

use std::time::Duration;

use zephcast_core::ErrorKind;

/// Something that goes wrong. Unless told otherwise it concerns every operation of everyone until
/// [`Faults::clear`](crate::Faults::clear).
///
/// ```
/// use std::time::Duration;
/// use zephcast_core::ErrorKind;
/// use zephcast_memory::{Fault, MemoryBroker, Operation};
///
/// let broker = MemoryBroker::new();
/// broker
///     .faults()
///     // The network of one member is gone for five seconds.
///     .inject(Fault::cut().member("worker-1").lasting(Duration::from_secs(5)))
///     // The next publish is stored, but nobody hears of it.
///     .inject(Fault::lose_reply().on(Operation::Publish).times(1))
///     // One settlement in ten fails.
///     .inject(Fault::fail(ErrorKind::Unavailable).on(Operation::Settle).chance(0.1));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    pub(super) effect: Effect,
    pub(super) operations: Vec<Operation>,
    pub(super) member: Option<String>,
    pub(super) times: Option<u32>,
    pub(super) lasting: Option<Duration>,
    pub(super) chance: Option<f64>,
}

/// What a fault does to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Fail(ErrorKind),
    LoseReply,
    Delay(Duration),
}

/// What a client asks of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Publishing a batch.
    Publish,
    /// Joining a group.
    Join,
    /// Waiting for messages.
    Fetch,
    /// Settling a batch.
    Settle,
    /// Storing a dead letter, a part of settling: the rest of the batch is settled.
    DeadLetter,
    /// Keeping a lease.
    Renew,
    /// Leaving a group.
    Leave,
    /// Everything else: opening a publisher, status, streams, groups, dead letters.
    Admin,
}

impl Fault {
    /// No connection: calls fail as [`Unavailable`](ErrorKind::Unavailable), nothing is done. What a member held is
    /// handed out again once it is back, as after a real reconnect, and its lease runs on meanwhile.
    pub fn cut() -> Self {
        Self::fail(ErrorKind::Unavailable)
    }

    /// Calls fail with this kind of error and nothing is done.
    pub fn fail(kind: ErrorKind) -> Self {
        Self::new(Effect::Fail(kind))
    }

    /// What is asked for is done, but the answer is lost: a publish becomes
    /// [`Unknown`](zephcast_core::PublishError::Unknown), every other call fails as
    /// [`Unavailable`](ErrorKind::Unavailable). Of fetches it concerns those that bring messages.
    pub fn lose_reply() -> Self {
        Self::new(Effect::LoseReply)
    }

    /// What is asked for is done at once and the answer comes this much later; messages come later by as much.
    pub fn delay(delay: Duration) -> Self {
        Self::new(Effect::Delay(delay))
    }

    /// The group's dead letters take nothing more: settling a delivery to there fails as
    /// [`Blocked`](ErrorKind::Blocked), and the delivery stays as it is.
    pub fn refuse_dead_letters() -> Self {
        Self::fail(ErrorKind::Blocked).on(Operation::DeadLetter)
    }

    /// Only this operation, or also this one if there is one already.
    pub fn on(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Only the member of this name, in every group.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.member = Some(name.into());
        self
    }

    /// Only the next so many calls that it concerns.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Only for so long from when it is injected.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }

    /// Only with this probability for each call, from 0 to 1; see [`Faults::seed`](crate::Faults::seed).
    pub fn chance(mut self, probability: f64) -> Self {
        self.chance = Some(probability);
        self
    }

    fn new(effect: Effect) -> Self {
        Self { effect, operations: Vec::new(), member: None, times: None, lasting: None, chance: None }
    }
}

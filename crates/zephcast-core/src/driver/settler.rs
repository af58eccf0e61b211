//! Settling, at the seam.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Message, Position, Result, Token, UnitId};

/// The settling half of a member. Works while a fetch waits.
#[async_trait]
pub trait Settler: Send + Sync {
    /// Takes settlements to the broker.
    ///
    /// `Ok` means that every one of them is durable, but for those returned as lost: a settlement that came too late
    /// changes nothing for the message's new owner. Settling again what an unanswered call may have settled is fine and
    /// answers `Ok`.
    ///
    /// Where one write settles however many messages, as a committed offset does, a driver may keep acks for its next
    /// write, which follows within a documented interval; [`commit`](Self::commit) waits for it.
    ///
    /// # Errors
    /// A retryable error: any part may have been done, the engine calls again with the same settlements. Any other of
    /// [those of every call](super::Driver#errors): this cannot be settled as things are, such as
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for a message that cannot be moved. The engine tells whoever waits, and
    /// calls again all the same.
    ///
    /// # Cancel safety
    /// Dropped, any part may have been done, as after a retryable error. The engine drops it only when the member has
    /// to be gone; what was not done comes again.
    async fn settle(&self, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>>;

    /// Makes everything durable that [`settle`](Self::settle) answered `Ok` to. Called when somebody waits for it; returns
    /// what is not, told once. By default `settle` has done it all.
    ///
    /// # Errors
    /// A retryable error: it may have been done, the engine calls again. Any other of
    /// [those of every call](super::Driver#errors): whoever waits is told.
    ///
    /// # Cancel safety
    /// Dropped, it may have been done. The engine drops it only when the member has to be gone.
    async fn commit(&self) -> Result<Undurable> {
        Ok(Undurable::default())
    }

    /// Says that the member lives and keeps what it holds. Called at a third of the lease, also with nothing held.
    /// Returns what it holds no longer. A driver whose lease is kept otherwise answers with nothing.
    ///
    /// # Errors
    /// Those of [every call](super::Driver#errors): some of it may have been renewed. The engine logs it and calls
    /// again when it is time; the lease runs on meanwhile.
    ///
    /// # Cancel safety
    /// Dropped, it may have been renewed or not. The engine drops it only when the member has ended.
    async fn renew(&self, renewal: Renewal) -> Result<Vec<(UnitId, Token)>>;

    /// Makes a waiting fetch, or else the next one, return soon with what it has or [`Idle`](super::Fetched::Idle).
    fn interrupt(&self);

    /// Leaves the group and gives back what is held: it is with another member within seconds. Called after the last fetch
    /// returned and the last settlement and renewal were answered; after a retryable error called again with the same, as
    /// long as there is time, and `Ok` if the unanswered call had done it.
    ///
    /// What comes back is no suspect, since its member ended in good order; but a suspect that nobody tried stays one,
    /// with the count that it had before it was handed out: it has not proved its innocence. So does a suspect that is
    /// held and not named, which the engine never saw.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout) when it did not leave within the deadline, and those of
    /// [every call](super::Driver#errors). What was not given back is taken over after the lease.
    ///
    /// # Cancel safety
    /// Dropped at its deadline: what was not given back by then is taken over after the lease, as from a dead member.
    async fn leave(&self, returned: Vec<Returned>, deadline: Duration) -> Result<()>;
}

/// Units of which something that was settled is not durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undurable {
    /// It was lost: it comes again.
    pub lost: Vec<UnitId>,
    /// Nobody knows: the broker was lost sight of before it said that it is durable. What is not comes again. Of the
    /// assignment of which the engine was told last, and of all before.
    pub unknown: Vec<UnitId>,
    /// The same, alone of assignments whose loss the engine was told of.
    pub unknown_of_lost: Vec<UnitId>,
}

/// What is to be settled, by unit.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// Whether an earlier call with the same settlements failed, so that any part of it may have been done and time
    /// has passed since these deliveries were last renewed.
    pub again: bool,
    /// One entry for each unit with something to settle.
    pub units: Vec<UnitSettlements>,
}

/// Settlements of one unit. A driver with a pending list uses `acked`; one with a committed offset uses `frontier`.
#[derive(Clone, Debug)]
pub struct UnitSettlements {
    /// The unit.
    pub unit: UnitId,
    /// Everything handed out up to and including this token is settled. Never falls within an assignment.
    pub frontier: Option<Token>,
    /// Acked since the last settlement, in the order of delivery.
    pub acked: Vec<Token>,
    /// Whether one of `acked` had failed before, so that a driver may have notes about it.
    pub had_failures: bool,
    /// Everything that is not an ack.
    pub others: Vec<(Token, Disposition)>,
}

impl UnitSettlements {
    /// Nothing to settle yet in this unit.
    #[must_use]
    pub fn new(unit: UnitId) -> Self {
        Self { unit, frontier: None, acked: Vec::new(), had_failures: false, others: Vec::new() }
    }
}

/// What becomes of a delivery that is not acked.
#[derive(Clone, Debug)]
pub enum Disposition {
    /// The group gets it again after `delay`, even if this process dies at once. No other group sees it.
    Later {
        /// After how long.
        delay: Duration,
        /// How many attempts count so far.
        attempts: u32,
        /// The message as it was delivered.
        message: Box<Message>,
        /// Where it lies in the stream.
        origin: Position,
        /// Milliseconds since the Unix epoch at which it was published, if known.
        published_ms: Option<u64>,
        /// Milliseconds since the Unix epoch of the first failed attempt, if one ever failed: also of an earlier
        /// delivery, and also for a plain "later".
        first_failed_ms: Option<u64>,
    },
    /// It goes to the group's dead letters; only then is it settled.
    Dead {
        /// The message as it was delivered.
        message: Box<Message>,
        /// Where it lies in the stream.
        origin: Position,
        /// Milliseconds since the Unix epoch at which it was published, if known.
        published_ms: Option<u64>,
        /// How many attempts it had.
        attempts: u32,
        /// Why.
        failure: Failure,
    },
    /// It stays with this member, which tries it again; so many attempts count so far.
    Keep {
        /// How many attempts count so far.
        attempts: u32,
    },
    /// The group gets it again at once: this member is not going to handle it.
    Return {
        /// How many attempts count so far.
        attempts: u32,
    },
}

/// Why and since when a message fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The handler's reason, cut to a length that every broker can carry, without the payload.
    pub reason: String,
    /// Milliseconds since the Unix epoch of the first failed attempt.
    pub first_failed_ms: u64,
    /// Milliseconds since the Unix epoch of the last failed attempt.
    pub last_failed_ms: u64,
}

/// What a member holds, and how long it has been at it.
#[derive(Clone, Debug, Default)]
pub struct Renewal {
    /// Everything in the window.
    pub held: Vec<Held>,
    /// How long the oldest delivery has been handed out, for [`GroupStatus`](crate::GroupStatus).
    pub oldest: Option<Duration>,
}

/// What a member holds of one unit.
#[derive(Clone, Debug)]
pub struct Held {
    /// The unit.
    pub unit: UnitId,
    /// Tokens in the order of delivery.
    pub tokens: Vec<Token>,
}

/// A delivery that goes back unsettled.
#[derive(Clone, Copy, Debug)]
pub struct Returned {
    /// The unit.
    pub unit: UnitId,
    /// The delivery.
    pub token: Token,
    /// How many attempts count: one that was never handed out does not. A suspect with fewer than it was
    /// [fetched](super::Incoming::attempt) with was not tried.
    pub attempts: u32,
}

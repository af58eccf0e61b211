//! Receiving, at the seam.

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{Event, Message, Result, Token, UnitId};

/// The receiving half of a member.
#[async_trait]
pub trait Intake: Send {
    /// Waits for what comes next, as long as it takes or until [`Settler::interrupt`](super::Settler::interrupt).
    ///
    /// The engine calls this in a loop from one task and never drops a pending call. After a retryable error the next
    /// call restores, in one attempt and without sleeping, whatever was lost: connection, group, consumer, position.
    /// Right after joining, and after a restored connection, it hands out first what the broker says this member
    /// holds; what the engine still has in its window it drops by token.
    ///
    /// # Errors
    /// A retryable error when the broker is away: the engine waits and calls again, without an end. Any other of
    /// [those of every call](super::Driver#errors) ends the consumer, which hands it to its user; so does
    /// [`Conflict`](crate::ErrorKind::Conflict), when a later member of the same name has taken this one's place.
    ///
    /// # Cancel safety
    /// Need not be cancel safe: a pending call is interrupted, and dropped only when the member ends and the interrupt
    /// was not heard. What such a call had taken from the broker comes back to the group as from a dead member.
    async fn fetch(&mut self, credit: Credit) -> Result<Fetched>;
}

/// How much room the window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Messages that may be handed out. With 0 the window is full and only news is wanted: what was assigned, is
    /// revoked or lost, what is missing, an error. The engine interrupts such a fetch when there is room again.
    pub messages: usize,
    /// Bytes that may be handed out. A batch may exceed it by what cannot be known before it arrives, once.
    pub bytes: usize,
    /// Whether nothing else runs in this process, so that one suspect may be handed out. See [`Fetched::Suspects`].
    pub suspect: bool,
}

/// What a fetch brought.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fetched {
    /// Messages of one unit, in order.
    Batch(Batch),
    /// These units are now this member's. Said before the first message of them. A driver whose units are shared says
    /// it once.
    Assigned(Vec<UnitId>),
    /// These units are to be given up: the engine finishes and settles what runs, then releases them.
    Revoking(Release),
    /// These units were taken away; nothing of them can be settled any more. Their tokens may come again later.
    Lost(Vec<UnitId>),
    /// What only the driver sees, such as messages that are gone from the broker: told to the user as it is.
    Event(Event),
    /// Only messages from the unclean end of a member are there: one of them may have killed it. They are handed out
    /// one at a time, on a [`Credit`] with `suspect` set.
    Suspects,
    /// Nothing came from a broker that answers; the engine may want to do something else before it asks again.
    Idle,
}

/// Messages of one unit, in the order in which they are to be handled.
#[derive(Debug)]
pub struct Batch {
    /// The unit.
    pub unit: UnitId,
    /// The messages; on a credit for a suspect exactly one.
    pub messages: Vec<Incoming>,
}

/// A message as it comes from the broker.
#[derive(Debug)]
pub struct Incoming {
    /// What settles it.
    pub token: Token,
    /// Where it lies in the stream. Unit and token of the batch, but for one that came back by way of a helper queue.
    pub origin: (UnitId, Token),
    /// The message. Reserved headers have been taken out.
    pub message: Message,
    /// Which attempt this is by the broker's count, from 1.
    pub attempt: u32,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// Milliseconds since the Unix epoch at which it was published, if known.
    pub published_ms: Option<u64>,
    /// Milliseconds since the Unix epoch at which its first attempt failed, if one did and the broker knows.
    pub first_failed_ms: Option<u64>,
    /// Whether it comes from a member's unclean end.
    pub suspect: bool,
}

/// Units to be given up, and the way to say that they may go.
#[derive(Debug)]
pub struct Release {
    /// The units.
    pub units: Vec<UnitId>,
    done: oneshot::Sender<()>,
}

/// Resolves when the engine has released the units, or let go of them without a word.
#[derive(Debug)]
pub struct Released(oneshot::Receiver<()>);

impl Release {
    /// A request to give up these units, and where its answer arrives.
    #[must_use]
    pub fn new(units: Vec<UnitId>) -> (Self, Released) {
        let (done, released) = oneshot::channel();
        (Self { units, done }, Released(released))
    }

    /// Everything of these units is settled or given up: they may go.
    pub fn release(self) {
        // A driver that no longer waits has lost the units anyway.
        let _ = self.done.send(());
    }
}

impl Released {
    /// Waits for the engine.
    ///
    /// # Cancel safety
    /// Cancel safe: it can be waited for again, until it has resolved.
    pub async fn wait(&mut self) {
        // An engine that ended has released everything.
        let _ = (&mut self.0).await;
    }
}

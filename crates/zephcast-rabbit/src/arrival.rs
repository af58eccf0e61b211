//! A message that came, and what is known of it.

use lapin::message::Delivery;
use tokio::time::Instant;
use zephcast_core::driver::Incoming;
use zephcast_core::{Message, Token};

use crate::held::HeldMessage;
use crate::hints::Mark;
use crate::inbox::ConsumerNumber;
use crate::member::UNIT;
use crate::properties::{self, Decoded, Notes, Original};

/// A message of the group's queue that was not handed out.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) tag: u64,
    pub(crate) mark: Mark,
    /// How often it was delivered before, where the broker counts.
    pub(crate) count: Option<u64>,
    /// Whether it may have killed a member, as long as nobody said that it did not.
    pub(crate) is_doubtful: bool,
    redelivered: bool,
    pub(crate) message: Message,
    pub(crate) notes: Notes,
}

impl Arrival {
    /// What came, and what is kept of it for as long as it is held.
    pub(crate) fn new(delivery: Delivery, own_prefix: &str) -> (Self, Option<Box<Original>>) {
        let (tag, redelivered) = (delivery.delivery_tag, delivery.redelivered);
        // A queue that counts says nothing the first time.
        let count = properties::delivery_count(&delivery.properties).or((!redelivered).then_some(0));
        let key = delivery.routing_key;
        let Decoded { message, notes, original } =
            properties::decode(delivery.data.into(), key.as_str(), delivery.properties, own_prefix);
        let mark = Mark::of(message.id().map(|id| id.as_bytes().as_ref()), message.payload(), notes.copied_ms);
        (Self { tag, mark, count, is_doubtful: redelivered, redelivered, message, notes }, original)
    }

    pub(crate) fn held(&self, consumer: ConsumerNumber, original: Option<Box<Original>>) -> HeldMessage {
        let Self { mark, count, is_doubtful, .. } = *self;
        HeldMessage {
            consumer,
            mark,
            count,
            attempts: self.notes.attempts,
            is_doubtful,
            original,
            since: Instant::now(),
        }
    }

    /// Whether it waits for longer than the longest delay of a queue.
    pub(crate) fn is_early(&self, now_ms: u64) -> bool {
        /// Clocks differ.
        const CLOSE_ENOUGH_MS: u64 = 60_000;
        self.notes.due_ms.is_some_and(|due| due > now_ms.saturating_add(CLOSE_ENOUGH_MS))
    }

    /// What its message counts for in the window.
    pub(crate) fn size(&self) -> usize {
        self.message.byte_len()
    }

    /// What a copy of it says.
    pub(crate) fn notes_for_copy(&self, token: Token) -> Notes {
        Notes { origin: Some(self.notes.origin.unwrap_or(token)), ..self.notes.clone() }.copied()
    }

    pub(crate) fn into_incoming(self, token: Token) -> Incoming {
        incoming(token, self.message, &self.notes, self.redelivered)
    }
}

/// A message as the engine takes it.
pub(crate) fn incoming(token: Token, message: Message, notes: &Notes, redelivered: bool) -> Incoming {
    Incoming {
        token,
        origin: (UNIT, notes.origin.unwrap_or(token)),
        message,
        attempt: notes.attempts.saturating_add(1),
        redelivered: redelivered || notes.attempts > 0 || notes.due_ms.is_some(),
        published_ms: notes.published_ms,
        first_failed_ms: notes.first_failed_ms,
        suspect: false,
    }
}

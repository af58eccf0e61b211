//! Publishing, at the seam.

use async_trait::async_trait;

use crate::{Error, Message, Position, PublishError};

/// The way to publish to one stream.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Publishes a batch in order and answers for each message, in the same order, with exactly one result.
    ///
    /// `Ok` only after the broker confirmed, with the message's position where the broker says it. A driver never sends
    /// a message twice on its own. The engine calls this again while earlier calls are still waiting; batches are
    /// stored in the order of the calls' first poll. Messages arrive checked: id set, no reserved header, size within
    /// [`max_payload`](crate::Capabilities::max_payload).
    ///
    /// # Errors
    /// For each message by itself: [`Failed`](PublishError::Failed) when it was certainly not stored,
    /// [`Unknown`](PublishError::Unknown) when in doubt, each with a kind that [every call](super::Driver#errors) can
    /// fail with. What this broker cannot carry (a null value, a header's name) fails with
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) or [`TooLarge`](crate::ErrorKind::TooLarge) before anything of
    /// it is sent, what no queue takes with [`Unroutable`](crate::ErrorKind::Unroutable); its neighbours are not
    /// affected.
    ///
    /// # Cancel safety
    /// Dropped, any message of the batch may be stored: the outcome of all of them is unknown.
    async fn publish(&self, batch: &[Message]) -> Vec<Result<Option<Position>, PublishError>>;

    /// What went wrong last and is not over, as far as the driver knows: why there is no answer. None by default.
    fn trouble(&self) -> Option<Error> {
        None
    }

    /// How many messages without an answer are best, where the publisher's user does not say. 1,000 unless the broker's
    /// client gathers larger batches itself.
    fn window(&self) -> u32 {
        1_000
    }
}

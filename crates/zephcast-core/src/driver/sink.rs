//! Publishing, at the seam.

use async_trait::async_trait;

use crate::{Message, Position, PublishError};

/// The way to publish to one stream.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Publishes a batch in order and answers for each message, in the same order, with exactly one result.
    ///
    /// `Ok` only after the broker confirmed, with the message's position where the broker says it. A message that was certainly not stored is
    /// [`Failed`](PublishError::Failed); when in doubt it is [`Unknown`](PublishError::Unknown). A driver never sends a
    /// message twice on its own. The engine calls this again while earlier calls are still waiting; batches are stored
    /// in the order of the calls' first poll. Messages arrive checked: id set, no reserved header, size within
    /// [`max_payload`](crate::Capabilities::max_payload). What this broker cannot carry (a null value, a header's name)
    /// is refused by the driver with [`InvalidInput`](crate::ErrorKind::InvalidInput) before anything of it is sent,
    /// and its neighbours are not affected.
    ///
    /// # Cancel safety
    /// Dropped, any message of the batch may be stored: the outcome of all of them is unknown.
    async fn publish(&self, batch: &[Message]) -> Vec<Result<Option<Position>, PublishError>>;
}

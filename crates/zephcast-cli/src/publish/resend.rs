//! `publish --resend`: what nobody knows the outcome of is sent again, with its id.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zephcast::{Message, MessageId, PublishError, Publisher, Receipt};

use crate::args::publish::PublishArgs;
use crate::signals::Shutdown;

/// What all messages have in common that may be sent again.
pub(super) struct Resends {
    publisher: Publisher,
    times: u32,
    /// For messages whose outcome is not known for good. The publisher has its own bound, which a message leaves with each
    /// of its outcomes.
    room: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Resends {
    /// `None` where nothing is to be sent again.
    pub(super) fn of(arguments: &PublishArgs, publisher: &Publisher, shutdown: &Shutdown) -> Option<Self> {
        (arguments.resend > 0).then(|| Self {
            publisher: publisher.clone(),
            times: arguments.resend,
            room: Arc::new(Semaphore::new(arguments.in_flight as usize)),
            shutdown: shutdown.clone(),
        })
    }

    /// Waits for room for one more message, which is kept until its outcome is known for good. Cancel safe.
    pub(super) async fn room(resends: Option<&Self>, message: &Message) -> Option<Resend> {
        let Self { publisher, times, room, shutdown } = resends?;
        // It is never closed.
        let room = room.clone().acquire_owned().await.ok()?;
        let (publisher, message, shutdown) = (publisher.clone(), message.clone(), shutdown.clone());
        Some(Resend { publisher, message, times: *times, shutdown, _room: room })
    }
}

/// A message that may be sent again.
pub(super) struct Resend {
    publisher: Publisher,
    message: Message,
    times: u32,
    shutdown: Shutdown,
    _room: OwnedSemaphorePermit,
}

impl Resend {
    /// Sends it again until it is stored, it was sent often enough, more of it is of no use, or the process is asked to stop.
    /// What may have been stored once stays unknown, whatever becomes of later copies.
    pub(super) async fn settle(
        self,
        id: &MessageId,
        outcome: Result<Receipt, PublishError>,
    ) -> Result<Receipt, PublishError> {
        let Err(PublishError::Unknown(mut last)) = outcome else { return outcome };
        let message = self.message.with_id(id.clone());
        for _ in 0..self.times {
            if self.shutdown.requested() {
                break;
            }
            let error = match self.publisher.publish(message.clone()).await {
                Ok(receipt) => return Ok(receipt),
                Err(error) => error,
            };
            let is_worth_it = error.is_unknown() || error.error().is_retryable();
            last = error.into();
            if !is_worth_it {
                break;
            }
        }
        Err(PublishError::Unknown(last))
    }
}

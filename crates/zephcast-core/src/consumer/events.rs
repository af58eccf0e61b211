//! Reading events.

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::Event;

/// A reader of a member's events. One that falls behind by more than 1,024 events misses the oldest.
#[derive(Debug)]
pub struct Events(Receiver<Event>);

impl Events {
    pub(crate) fn new(receiver: Receiver<Event>) -> Self {
        Self(receiver)
    }

    /// The next event; `None` after the last one of a member that has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "events missed by a slow reader"),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

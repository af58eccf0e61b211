//! Whether the broker takes messages.

use tokio::sync::watch;
use tokio::time::Instant;
use zephcast_core::Event;

use crate::connection::Connection;

/// What a member was told of the connection by which its client publishes.
pub(super) struct Blockage {
    reason: watch::Receiver<Option<String>>,
    /// Since when it was told that nothing is taken.
    since: Option<Instant>,
}

impl Blockage {
    pub(super) fn new(publishing: &Connection) -> Self {
        let mut reason = publishing.blocking();
        // It may be so already.
        reason.mark_changed();
        Self { reason, since: None }
    }

    /// Whether nothing is taken now.
    pub(super) fn is_there(&self) -> bool {
        self.reason.borrow().is_some()
    }

    /// What is to be told.
    pub(super) fn news(&mut self) -> Option<Event> {
        if !self.reason.has_changed().unwrap_or(false) {
            return None;
        }
        let reason = self.reason.borrow_and_update().clone();
        match (reason, self.since) {
            (Some(reason), None) => {
                self.since = Some(Instant::now());
                Some(Event::Blocked(reason))
            }
            (None, Some(since)) => {
                self.since = None;
                Some(Event::Unblocked(since.elapsed()))
            }
            _ => None,
        }
    }

    /// Waits until there may be news.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn changed(&mut self) {
        // Marked again, so that it is news still. The sender is the client's, which outlives its members.
        match self.reason.changed().await {
            Ok(()) => self.reason.mark_changed(),
            Err(_) => std::future::pending().await,
        }
    }
}

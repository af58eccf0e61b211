//! The ways to the broker, which everything that is rarely done shares.

use std::sync::Arc;

use zephcast_core::Result;

use crate::connection::Connection;
use crate::management::Management;
use crate::mover::Mover;

/// Ways to one broker.
pub(crate) struct Brokers {
    /// For looking and managing.
    pub(crate) control: Arc<Connection>,
    /// For publishing alone, since the server stops reading from a connection that publishes when memory or disk are
    /// short.
    pub(crate) publishing: Arc<Connection>,
    pub(crate) mover: Arc<Mover>,
    /// The management API, if there may be one.
    pub(crate) management: Option<Management>,
}

impl Brokers {
    /// The management API.
    ///
    /// # Errors
    /// `Unsupported` when there is none, saying for what it is needed.
    pub(crate) fn management(&self, operation: &'static str, what_for: &str) -> Result<&Management> {
        self.management.as_ref().ok_or_else(|| {
            let text = format!("only the management API knows {what_for}; name it with `management=http://HOST:15672`");
            crate::error::error(zephcast_core::ErrorKind::Unsupported, operation, text)
        })
    }
}

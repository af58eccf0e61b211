//! Messages that the server may close the channel for, with everything else on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::types::ShortString;

use crate::config::Credentials;
use crate::connection::Connection;
use crate::properties::Outgoing;

/// A message larger than this goes alone, since the server closes the channel for one that is too large. What it said of
/// its own limit counts where that is less.
pub(crate) const LARGE: usize = 1024 * 1024;

/// For what the server may close the channel.
pub(super) struct Suspicion {
    limit: Arc<AtomicUsize>,
    /// Whose messages may say that they are this user's; `None` where nobody knows as whom the connection is logged in.
    user: Option<ShortString>,
}

impl Suspicion {
    pub(super) fn new(connection: &Connection) -> Self {
        let user = match &connection.config().credentials {
            Credentials::Password { user, .. } => Some(user.as_str().into()),
            _ => None,
        };
        Self { limit: connection.message_limit().clone(), user }
    }

    /// The largest message that the server takes, as far as it said so.
    pub(super) fn limit(&self) -> Arc<AtomicUsize> {
        self.limit.clone()
    }

    /// Whether this one goes alone, so that a refusal hits nobody else.
    pub(super) fn falls_on(&self, message: &Outgoing) -> bool {
        let is_others = |user: &ShortString| self.user.as_ref() != Some(user);
        message.payload.len() > self.limit.load(Ordering::Relaxed)
            || message.properties.user_id().as_ref().is_some_and(is_others)
    }
}

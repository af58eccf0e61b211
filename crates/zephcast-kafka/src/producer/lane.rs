//! Topics that take less at once than the client library sends.
//!
//! A broker refuses all records that came together when they are larger than the topic's `max.message.bytes`, and the
//! library, which knows nothing of that setting, fails each of them. So they are sent again in pieces that are halved
//! until they are taken, with nothing beside them that the library could put together with them. Only a message that is
//! refused alone is too large.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::BATCH;

/// What all who publish to a topic share.
pub(crate) struct Lane {
    limit: AtomicUsize,
    beside: RwLock<()>,
}

impl Lane {
    fn new() -> Self {
        Self { limit: AtomicUsize::new(BATCH), beside: RwLock::new(()) }
    }

    /// The one of this topic.
    pub(super) fn of(lanes: &mut HashMap<String, Weak<Self>>, topic: &str) -> Arc<Self> {
        if let Some(lane) = lanes.get(topic).and_then(Weak::upgrade) {
            return lane;
        }
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = Arc::new(Self::new());
        lanes.insert(topic.to_owned(), Arc::downgrade(&lane));
        lane
    }

    /// Whether the topic ever refused less than the library sends at once.
    pub(crate) fn is_narrow(&self) -> bool {
        self.most() < BATCH
    }

    /// The most bytes that the topic is known to take at once.
    pub(crate) fn most(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// So many bytes were refused, of more than one message.
    pub(crate) fn is_below(&self, size: usize) {
        self.limit.fetch_min(size / 2, Ordering::Relaxed);
    }

    /// To be held as long as something is on its way that others may go beside.
    pub(crate) async fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.beside.read().await
    }

    /// To be held as long as something is on its way that nothing may go beside.
    pub(crate) async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.beside.write().await
    }
}

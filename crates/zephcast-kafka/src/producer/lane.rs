//! Topics that take less at once than the client library sends.
//!
//! A broker refuses all records that came together when they are larger than the topic's `max.message.bytes`, and the
//! library, which knows nothing of that setting, fails each of them. So they are sent again in pieces that are halved
//! until they are taken, with nothing beside them that the library could put together with them. Only a message that is
//! refused alone is too large.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::RwLock;

use super::BATCH;

/// How many pieces in a row the topic has to take before it is tried with twice as much: its limit may have been raised.
const WIDEN_AFTER: usize = 64;

/// What all who publish to a topic share.
pub(crate) struct Lane {
    /// The most bytes that are sent at once.
    most: AtomicUsize,
    /// How many pieces were taken since the last was refused.
    taken: AtomicUsize,
    /// Whoever sends holds it, until the last answer is there.
    way: Arc<RwLock<()>>,
}

/// Held as long as something is on its way.
pub(crate) type Hold = Arc<dyn Debug + Send + Sync>;

impl Lane {
    fn new() -> Self {
        Self { most: AtomicUsize::new(BATCH), taken: AtomicUsize::new(0), way: Arc::default() }
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

    /// Whether the topic refused less than the library sends at once.
    pub(crate) fn is_narrow(&self) -> bool {
        self.most() < BATCH
    }

    /// The most bytes that the topic is known to take at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// More than one message of so many bytes together was refused.
    pub(crate) fn narrow(&self, size: usize) {
        self.most.fetch_min(size / 2, Ordering::Relaxed);
        self.taken.store(0, Ordering::Relaxed);
    }

    /// A piece was taken.
    pub(crate) fn widen(&self) {
        if self.taken.fetch_add(1, Ordering::Relaxed) + 1 >= WIDEN_AFTER {
            self.taken.store(0, Ordering::Relaxed);
            self.most.store((self.most() * 2).clamp(1, BATCH), Ordering::Relaxed);
        }
    }

    /// For what others may go beside.
    pub(crate) async fn shared(&self) -> Hold {
        Arc::new(self.way.clone().read_owned().await)
    }

    /// For what nothing may go beside.
    pub(crate) async fn alone(&self) -> Hold {
        Arc::new(self.way.clone().write_owned().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_halved_and_what_is_taken_for_long_doubled() {
        let lane = Lane::new();
        assert!(!lane.is_narrow());
        lane.narrow(BATCH);
        lane.narrow(BATCH);
        assert_eq!(lane.most(), BATCH / 2);
        lane.narrow(20_000);
        (1..WIDEN_AFTER).for_each(|_| lane.widen());
        assert_eq!(lane.most(), 10_000);
        lane.widen();
        assert_eq!(lane.most(), 20_000);
        (0..WIDEN_AFTER * 6).for_each(|_| lane.widen());
        assert!(!lane.is_narrow(), "{}", lane.most());
    }

    #[test]
    fn lanes_are_shared_by_topic_for_as_long_as_somebody_has_one() {
        let mut lanes = HashMap::new();
        let one = Lane::of(&mut lanes, "orders");
        assert!(Arc::ptr_eq(&one, &Lane::of(&mut lanes, "orders")));
        drop(one);
        drop(Lane::of(&mut lanes, "shop"));
        drop(Lane::of(&mut lanes, "stock"));
        assert_eq!(lanes.len(), 1);
    }
}

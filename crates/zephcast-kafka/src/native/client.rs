//! A client of the library, for looking.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::bindings::rd_kafka_t;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::ask_for_brokers;
use crate::cluster::Watcher;

/// A client of the library, for looking.
///
/// It is one for consuming, with a group that it never joins: one without a group dereferences null when it asks the wrong
/// coordinator for a group's offsets (`rd_kafka_handle_OffsetFetch`, librdkafka 2.12.1).
pub(crate) struct Client {
    pub(crate) consumer: BaseConsumer<Watcher>,
    /// Set for good by a call that no coordinator answered, see there.
    is_overdue: AtomicBool,
    /// Set by a call that nobody answered.
    is_lost: AtomicBool,
}

impl Client {
    pub(crate) fn new(consumer: BaseConsumer<Watcher>) -> Self {
        Self { consumer, is_overdue: AtomicBool::new(false), is_lost: AtomicBool::new(false) }
    }

    /// Whether it has to be replaced by another one.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Relaxed)
    }

    pub(crate) fn overdue(&self) {
        self.is_overdue.store(true, Ordering::Relaxed);
    }

    /// Nobody answered: who controls the cluster, whom most calls go to, may be somebody else by now, and the library looks
    /// for those whom it knows, for ever.
    pub(crate) fn lost(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    /// Asks whoever is there who the brokers are, if that is to be done. Blocks, at most for so long.
    pub(crate) fn find_brokers(&self, most: Duration) {
        if self.is_lost.swap(false, Ordering::Relaxed) {
            ask_for_brokers(self.consumer.client(), most);
        }
    }

    pub(super) fn native(&self) -> *mut rd_kafka_t {
        self.consumer.client().native_ptr()
    }
}

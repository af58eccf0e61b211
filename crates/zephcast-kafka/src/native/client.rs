//! A client of the library, for looking.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::bindings::rd_kafka_t;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::cluster::Watcher;

/// A client of the library, for looking.
///
/// It is one for consuming, with a group that it never joins: one without a group dereferences null when it asks the wrong
/// coordinator for a group's offsets (`rd_kafka_handle_OffsetFetch`, librdkafka 2.12.1).
pub(crate) struct Client {
    pub(crate) consumer: BaseConsumer<Watcher>,
    /// Set for good by a call that no coordinator answered, see there.
    is_overdue: AtomicBool,
}

impl Client {
    pub(crate) fn new(consumer: BaseConsumer<Watcher>) -> Self {
        Self { consumer, is_overdue: AtomicBool::new(false) }
    }

    /// Whether it has to be replaced by another one.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Relaxed)
    }

    pub(crate) fn overdue(&self) {
        self.is_overdue.store(true, Ordering::Relaxed);
    }

    pub(super) fn native(&self) -> *mut rd_kafka_t {
        self.consumer.client().native_ptr()
    }
}

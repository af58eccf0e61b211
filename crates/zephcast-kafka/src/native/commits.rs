//! Commits whose answers come to a queue of their own, so that they can be read in the middle of a rebalance, where the
//! consumer's own queue cannot.

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::thread::Thread;

use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::batches::unpark;
use super::code::{outcome, outcome_at};

/// A queue for the answers. To be dropped before its consumer.
pub(crate) struct Commits {
    queue: NonNull<rdsys::rd_kafka_queue_t>,
    client: *mut rdsys::rd_kafka_t,
    /// Whom the queue wakes. Shared, since the library keeps its address.
    _reader: Arc<Thread>,
}

/// What became of a commit.
pub(crate) struct Committed {
    pub(crate) refusal: Option<RDKafkaErrorCode>,
    /// Partitions of which it was refused, each for itself.
    pub(crate) refused: Vec<(String, i32, RDKafkaErrorCode)>,
}

impl Commits {
    /// Makes the queue; `reader` is unparked when an answer comes.
    pub(crate) fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>, reader: Thread) -> Option<Self> {
        let client = consumer.client().native_ptr();
        let reader = Arc::new(reader);
        // SAFETY: the client lives as long as `consumer`, which whoever holds this keeps for longer. The queue is destroyed
        // by `drop`, after its callback was taken away, so `reader` outlives every call of it.
        unsafe {
            let queue = NonNull::new(rdsys::rd_kafka_queue_new(client))?;
            let opaque = Arc::as_ptr(&reader).cast_mut().cast::<c_void>();
            rdsys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(unpark), opaque);
            Some(Self { queue, client, _reader: reader })
        }
    }

    /// Commits these places.
    ///
    /// # Errors
    /// It was not sent, and no answer will come.
    pub(crate) fn send(&self, places: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: client and queue live, and the list is copied by the call.
        let sent = unsafe {
            rdsys::rd_kafka_commit_queue(self.client, places.ptr(), self.queue.as_ptr(), None, ptr::null_mut())
        };
        outcome(sent as i32)
    }

    /// The next answer, if one is there.
    pub(crate) fn next(&self) -> Option<Committed> {
        // SAFETY: the queue lives. The event is ours until it is destroyed, and what is read of it is copied before.
        unsafe {
            let event = NonNull::new(rdsys::rd_kafka_queue_poll(self.queue.as_ptr(), 0))?.as_ptr();
            let refusal = outcome(rdsys::rd_kafka_event_error(event) as i32).err();
            let refused = refused(rdsys::rd_kafka_event_topic_partition_list(event));
            rdsys::rd_kafka_event_destroy(event);
            Some(Committed { refusal, refused })
        }
    }
}

// SAFETY: librdkafka's queues and clients may be used from any thread.
unsafe impl Send for Commits {}

impl Drop for Commits {
    fn drop(&mut self) {
        // SAFETY: the queue is ours, and nothing of it is used after this. Taking the callback away takes the queue's lock,
        // so that no call of it is running when `reader` is freed.
        unsafe {
            rdsys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            rdsys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// The partitions of a list that have an error.
///
/// # Safety
/// The list is null or alive.
unsafe fn refused(list: *const rdsys::rd_kafka_topic_partition_list_t) -> Vec<(String, i32, RDKafkaErrorCode)> {
    // SAFETY: as demanded; the list says how many elements it has.
    let elements = unsafe {
        let Some(list) = list.as_ref() else { return Vec::new() };
        match usize::try_from(list.cnt) {
            Ok(count) if count > 0 => slice::from_raw_parts(list.elems, count),
            _ => return Vec::new(),
        }
    };
    let refused = elements.iter().filter_map(|element| {
        // SAFETY: it is one of the list.
        let code = unsafe { outcome_at(&raw const element.err) }.err()?;
        // SAFETY: an element's topic is a text that lives as long as the list.
        let topic = unsafe { CStr::from_ptr(element.topic) }.to_string_lossy().into_owned();
        Some((topic, element.partition, code))
    });
    refused.collect()
}

//! Reading in batches: the queues of partitions lead to one queue of our own, which is read many records at a time. That
//! costs a third of what an event for each record costs.
//!
//! Facts of librdkafka 2.12 on which this rests: a queue's owner may read it from any thread; a partition's queue that an
//! application has forwarded stays so when fetching starts (`RD_KAFKA_Q_F_FWD_APP`); records of a former assignment, or
//! from before a pause or a seek, are dropped by their version when the queue is read
//! (`rd_kafka_q_serve_rkmessages`); a queue's callback is called under its lock each time it ceases to be empty.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::thread::Thread;

use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::message::Message;

/// The most records of one call.
pub(crate) const LONGEST_READ: usize = 2048;

/// A queue of our own for records. To be dropped before its consumer.
pub(crate) struct Batches {
    queue: NonNull<rdsys::rd_kafka_queue_t>,
    /// The consumer's own queue, for events.
    events: NonNull<rdsys::rd_kafka_queue_t>,
    client: *mut rdsys::rd_kafka_t,
    /// Whom the queue wakes. Shared, since the library keeps its address.
    _reader: Arc<Thread>,
    room: Vec<*mut rdsys::rd_kafka_message_t>,
}

impl Batches {
    /// Makes the queue; `reader` is unparked whenever it, or the consumer's own queue, ceases to be empty.
    pub(crate) fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>, reader: Thread) -> Option<Self> {
        let client = consumer.client().native_ptr();
        let reader = Arc::new(reader);
        // SAFETY: the client lives as long as `consumer`, which whoever holds this keeps for longer. Both queues are
        // destroyed by `drop`, after their callbacks were taken away, so `reader` outlives every call of `unpark`.
        unsafe {
            let queue = NonNull::new(rdsys::rd_kafka_queue_new(client))?;
            let events = NonNull::new(rdsys::rd_kafka_queue_get_consumer(client))?;
            for queue in [queue, events] {
                let opaque = Arc::as_ptr(&reader).cast_mut().cast::<c_void>();
                rdsys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(unpark), opaque);
            }
            Some(Self { queue, events, client, _reader: reader, room: vec![ptr::null_mut(); LONGEST_READ] })
        }
    }

    /// How many events wait to be polled.
    pub(crate) fn events(&self) -> usize {
        // SAFETY: the queue lives until `drop`.
        unsafe { rdsys::rd_kafka_queue_length(self.events.as_ptr()) }
    }

    /// Whether nothing waits to be read.
    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: as in `events`.
        unsafe { rdsys::rd_kafka_queue_length(self.queue.as_ptr()) == 0 }
    }

    /// From now on records of the partition come to this queue. To be called before it is assigned, so that none comes to
    /// another.
    pub(crate) fn take_in(&self, topic: &str, partition: i32) {
        // Topics come from the library, which has their names without a zero byte.
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: the client lives, see `new`; the partition's queue is ours to destroy, and forwarding holds a reference
        // of its own.
        unsafe {
            let queue = rdsys::rd_kafka_queue_get_partition(self.client, topic.as_ptr(), partition);
            if !queue.is_null() {
                rdsys::rd_kafka_queue_forward(queue, self.queue.as_ptr());
                rdsys::rd_kafka_queue_destroy(queue);
            }
        }
    }

    /// Reads what is there, at most `most` records, without waiting.
    pub(crate) fn read(&mut self, most: usize) -> Vec<Message> {
        let most = most.min(LONGEST_READ);
        // SAFETY: there is room for `most` pointers. Each one that is filled in is a message of ours to destroy.
        let count =
            unsafe { rdsys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.room.as_mut_ptr(), most) };
        let count = usize::try_from(count).unwrap_or(0);
        self.room[..count].iter().filter_map(|message| Message::new(*message)).collect()
    }
}

/// The pointers in it are used under `&mut self`, or by calls of the library that are safe from any thread.
// SAFETY: librdkafka's queues and clients may be used from any thread; `room` holds nothing between two calls.
unsafe impl Send for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        // SAFETY: both queues are ours, and nothing of them is used after this. Taking the callback away takes the
        // queue's lock, so that no call of it is running when `reader` is freed.
        unsafe {
            for queue in [self.queue, self.events] {
                rdsys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), None, ptr::null_mut());
                rdsys::rd_kafka_queue_destroy(queue.as_ptr());
            }
        }
    }
}

/// Wakes the reader of a queue.
pub(super) unsafe extern "C" fn unpark(_client: *mut rdsys::rd_kafka_t, reader: *mut c_void) {
    // SAFETY: `reader` is the thread of whoever has the queue, who takes this callback away first.
    let reader = unsafe { &*reader.cast::<Thread>() };
    reader.unpark();
}

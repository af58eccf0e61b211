//! The raw client's fastest way to read: partitions lead to one queue, which is read many records at a time. Its Rust
//! client has no name for that.

#![expect(unsafe_code, reason = "librdkafka's batch queue has no name in its Rust client")]

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR;

use crate::Outcome;

/// The most records of one call.
const READ: usize = 1_000;

pub(super) type Batched = BaseConsumer<Context>;

/// Leads every partition that is assigned to the queue.
#[derive(Default)]
pub(super) struct Context {
    /// Taken out before the consumer ends, which waits for it.
    queue: Mutex<Option<Queue>>,
}

impl Context {
    fn queue(&self) -> MutexGuard<'_, Option<Queue>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue of the library.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: the library's queues may be used and given up on any thread.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: it came from `rd_kafka_queue_new`, and is given up here only.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &Batched, rebalance: &Rebalance<'_>) {
        let queue = self.queue();
        let (Rebalance::Assign(partitions), Some(queue)) = (rebalance, &*queue) else { return };
        for element in partitions.elements() {
            let Ok(topic) = CString::new(element.topic()) else { continue };
            // SAFETY: the client lives while it calls back, and the name ends with zero. The partition's queue is ours to
            // give up, and forwarding holds a reference of its own to both.
            unsafe {
                let client = consumer.client().native_ptr();
                let partition = sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), element.partition());
                if !partition.is_null() {
                    sys::rd_kafka_queue_forward(partition, queue.0.as_ptr());
                    sys::rd_kafka_queue_destroy(partition);
                }
            }
        }
    }
}

/// A record of the library, given back when dropped.
pub(super) struct Record(NonNull<sys::rd_kafka_message_t>);

impl Record {
    fn get(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: it is ours until `drop`, and nobody changes it.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn partition(&self) -> i32 {
        self.get().partition
    }

    pub(super) fn offset(&self) -> i64 {
        self.get().offset
    }

    pub(super) fn payload(&self) -> &[u8] {
        let (start, length) = (self.get().payload, self.get().len);
        if start.is_null() {
            return &[];
        }
        // SAFETY: the library says that so many bytes are there, and they live as long as the record.
        unsafe { slice::from_raw_parts(start.cast_const().cast::<u8>(), length) }
    }

    /// The value of the header that ours keeps an id in.
    pub(super) fn id(&self) -> Option<&[u8]> {
        let (mut headers, mut value, mut length) = (ptr::null_mut(), ptr::null(), 0);
        // SAFETY: the record is alive, and what is found belongs to it; the name ends with zero; a value that is not null
        // has as many bytes as is said.
        unsafe {
            if sys::rd_kafka_message_headers(self.get(), &raw mut headers) != NO_ERROR {
                return None;
            }
            let name = c"zephcast-id".as_ptr();
            let found = sys::rd_kafka_header_get_last(headers, name, &raw mut value, &raw mut length);
            (found == NO_ERROR && !value.is_null()).then(|| slice::from_raw_parts(value.cast::<u8>(), length))
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: whoever reads the queue owns its records, and nothing of this one is used after it.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// Reads the queue of a consumer. To be dropped before it.
pub(super) struct Reader<'a> {
    consumer: &'a Batched,
    room: Vec<*mut sys::rd_kafka_message_t>,
}

impl<'a> Reader<'a> {
    /// Makes the queue of a new consumer, before it subscribes.
    pub(super) fn new(consumer: &'a Batched) -> Outcome<Self> {
        // SAFETY: the client lives as long as the consumer.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) });
        *consumer.context().queue() = Some(Queue(queue.ok_or("the library makes no queue")?));
        Ok(Self { consumer, room: vec![ptr::null_mut(); READ] })
    }

    /// Calls the handler with each record that is there, `most` at most; returns how many were.
    pub(super) fn read(&mut self, most: usize, wait: Duration, mut handler: impl FnMut(&Record)) -> Outcome<usize> {
        let queue = match &*self.consumer.context().queue() {
            Some(queue) => queue.0.as_ptr(),
            None => return Ok(0),
        };
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let most = most.min(self.room.len());
        // SAFETY: the queue lives until the reader is dropped, and there is room for so many pointers.
        let count = unsafe { sys::rd_kafka_consume_batch_queue(queue, wait, self.room.as_mut_ptr(), most) };
        let count = usize::try_from(count).map_err(|_| "the queue cannot be read")?;
        let mut failed = None;
        for message in &self.room[..count] {
            // Each pointer that was filled in is a record of ours alone, to be given back once.
            let Some(record) = NonNull::new(*message).map(Record) else { continue };
            match record.get().err {
                NO_ERROR => handler(&record),
                error => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(format!("a partition cannot be read: {error:?}").into()),
            None => Ok(count),
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.consumer.context().queue().take();
    }
}

//! Reading in batches: the queues of partitions lead to one queue of our own, which is read many records at a time. That
//! costs a third of what an event for each record costs.
//!
//! Facts of librdkafka 2.12 on which this rests: a queue's owner may read it from any thread; a partition's queue that an
//! application has forwarded stays so when fetching starts (`RD_KAFKA_Q_F_FWD_APP`); records of a former assignment, or
//! from before a pause or a seek, are dropped by their version when the queue is read
//! (`rd_kafka_q_serve_rkmessages`); a queue's callback is called under its lock each time it ceases to be empty.

use std::ffi::{CStr, CString, c_void};
use std::mem;
use std::ptr::{self, NonNull};
use std::slice;
use std::thread::Thread;

use bytes::{Bytes, BytesMut};
use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use zephcast_core::Headers;

/// The most records of one call.
const LONGEST_READ: usize = 512;

/// A queue of our own for records. To be dropped before its consumer.
pub(crate) struct Batches {
    queue: NonNull<rdsys::rd_kafka_queue_t>,
    /// The consumer's own queue, for events.
    events: NonNull<rdsys::rd_kafka_queue_t>,
    client: *mut rdsys::rd_kafka_t,
    /// Whom the queue wakes. Boxed, since the library keeps its address.
    _reader: Box<Thread>,
    room: Vec<*mut rdsys::rd_kafka_message_t>,
}

/// A record, or what went wrong in its partition.
pub(crate) struct Raw {
    pub(crate) offset: i64,
    pub(crate) payload: Option<Bytes>,
    pub(crate) key: Option<Bytes>,
    pub(crate) headers: Headers,
    pub(crate) published_ms: Option<u64>,
}

/// What a read brings, record by record, to whoever can tell partitions apart.
pub(crate) trait Read {
    /// What follows is of this partition. `false`: it is not wanted.
    fn begin(&mut self, topic: &str, partition: i32) -> bool;
    fn record(&mut self, raw: Raw);
    fn failed(&mut self, topic: &str, partition: i32, code: RDKafkaErrorCode, text: &str);
}

impl Batches {
    /// Makes the queue; `reader` is unparked whenever it, or the consumer's own queue, ceases to be empty.
    pub(crate) fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>, reader: Thread) -> Option<Self> {
        let client = consumer.client().native_ptr();
        let reader = Box::new(reader);
        // SAFETY: the client lives as long as `consumer`, which whoever holds this keeps for longer. Both queues are
        // destroyed by `drop`, after their callbacks were taken away, so `reader` outlives every call of `unpark`.
        unsafe {
            let queue = NonNull::new(rdsys::rd_kafka_queue_new(client))?;
            let events = NonNull::new(rdsys::rd_kafka_queue_get_consumer(client))?;
            for queue in [queue, events] {
                let opaque = ptr::from_ref::<Thread>(&reader).cast_mut().cast::<c_void>();
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

    /// Reads what is there, at most `most` records, without waiting; returns how many came, wanted or not.
    pub(crate) fn read(&mut self, most: usize, read: &mut impl Read) -> usize {
        let most = most.min(LONGEST_READ);
        // SAFETY: there is room for `most` pointers. Each one that is filled in is a message of ours to destroy.
        let count =
            unsafe { rdsys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.room.as_mut_ptr(), most) };
        let count = usize::try_from(count).unwrap_or(0);
        let messages: Vec<Message> = self.room[..count].iter().filter_map(|message| Message::new(*message)).collect();
        let mut chunk = Chunk::for_all(&messages);
        let mut current: Option<(*const c_void, i32, bool)> = None;
        for message in &messages {
            let (topic, partition) = (message.topic_handle(), message.partition());
            if let Some(code) = message.error() {
                read.failed(&message.topic(), partition, code, &message.error_text());
                continue;
            }
            let wanted = match current {
                Some((known, number, wanted)) if known == topic && number == partition => wanted,
                _ => {
                    let wanted = read.begin(&message.topic(), partition);
                    current = Some((topic, partition, wanted));
                    wanted
                }
            };
            if wanted {
                read.record(message.to_raw(&mut chunk));
            }
        }
        count
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
    // SAFETY: `reader` is the boxed thread of whoever has the queue, who takes this callback away first.
    let reader = unsafe { &*reader.cast::<Thread>() };
    reader.unpark();
}

/// A message of the library, destroyed when dropped.
struct Message(NonNull<rdsys::rd_kafka_message_t>);

impl Message {
    fn new(message: *mut rdsys::rd_kafka_message_t) -> Option<Self> {
        NonNull::new(message).map(Self)
    }

    fn get(&self) -> &rdsys::rd_kafka_message_t {
        // SAFETY: it is ours until `drop`, and nobody changes it.
        unsafe { self.0.as_ref() }
    }

    fn offset(&self) -> i64 {
        self.get().offset
    }

    fn partition(&self) -> i32 {
        self.get().partition
    }

    /// Tells topics apart without comparing their names.
    fn topic_handle(&self) -> *const c_void {
        self.get().rkt.cast_const().cast()
    }

    fn topic(&self) -> String {
        if self.get().rkt.is_null() {
            return String::new();
        }
        // SAFETY: the message holds a reference to its topic, whose name is a string that lives as long.
        unsafe { CStr::from_ptr(rdsys::rd_kafka_topic_name(self.get().rkt)) }.to_string_lossy().into_owned()
    }

    fn error(&self) -> Option<RDKafkaErrorCode> {
        let code = self.get().err;
        (code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
    }

    fn error_text(&self) -> String {
        // SAFETY: of a message with an error the payload is its text, or nothing; either lives as long as the message.
        unsafe {
            let text = rdsys::rd_kafka_message_errstr(self.get());
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        }
    }

    /// The bytes at `start`; `None` for null.
    fn bytes(&self, start: *const c_void, length: usize) -> Option<&[u8]> {
        // SAFETY: the library says that so many bytes are there, and they live as long as the message.
        (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
    }

    fn payload(&self) -> Option<&[u8]> {
        self.bytes(self.get().payload, self.get().len)
    }

    fn key(&self) -> Option<&[u8]> {
        self.bytes(self.get().key, self.get().key_len)
    }

    fn published_ms(&self) -> Option<u64> {
        let mut kind = rdsys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is ours, `kind` is written.
        let ms = unsafe { rdsys::rd_kafka_message_timestamp(self.get(), &raw mut kind) };
        u64::try_from(ms).ok()
    }

    fn headers(&self, chunk: &mut Chunk) -> Headers {
        let mut list = ptr::null_mut();
        // SAFETY: the list belongs to the message. Each entry's name and value live as long as the list does.
        unsafe {
            if rdsys::rd_kafka_message_headers(self.get(), &raw mut list) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                return Headers::new();
            }
            let count = rdsys::rd_kafka_header_cnt(list);
            let header = |index| {
                let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
                let code = rdsys::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut length);
                if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                    return None;
                }
                let name = chunk.copy(CStr::from_ptr(name).to_bytes());
                Some((name, self.bytes(value, length).map(|value| chunk.copy(value))))
            };
            (0..count).map_while(header).collect()
        }
    }

    fn to_raw(&self, chunk: &mut Chunk) -> Raw {
        Raw {
            offset: self.offset(),
            payload: self.payload().map(|payload| chunk.copy(payload)),
            key: self.key().map(|key| chunk.copy(key)),
            headers: self.headers(chunk),
            published_ms: self.published_ms(),
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing of it is used after this.
        unsafe { rdsys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// One allocation for the small payloads and keys of a read. What is kept of it keeps its neighbours, so a large one has
/// an allocation of its own.
struct Chunk(BytesMut);

/// The largest piece that shares an allocation.
const LARGEST_SHARED: usize = 256;

impl Chunk {
    fn for_all(messages: &[Message]) -> Self {
        let share = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let shared = |length: &usize| *length <= LARGEST_SHARED;
        let lengths = messages.iter().flat_map(|message| [share(message.payload()), share(message.key())]);
        Self(BytesMut::with_capacity(lengths.filter(shared).sum()))
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > LARGEST_SHARED || self.0.capacity() < bytes.len() {
            return Bytes::copy_from_slice(bytes);
        }
        self.0.extend_from_slice(bytes);
        mem::take(&mut self.0.split()).freeze()
    }
}

//! Producing: by a topic that is looked up once, with headers of any bytes, and with a number in the report instead of an
//! allocation.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::types::{RDKafkaHeaders, RDKafkaTopic};
use sys::rd_kafka_vtype_t as Field;

/// A producer of the library, and its topics. Reports go to the context when it is polled.
pub(crate) struct Native<C: ProducerContext> {
    /// By name. None is given up before the producer, which this order of the fields makes sure of.
    topics: Mutex<HashMap<String, Owned>>,
    producer: BaseProducer<C>,
}

/// The library's handle of a topic.
struct Owned(NonNull<RDKafkaTopic>);

// SAFETY: the library's handles may be used and given up on any thread.
unsafe impl Send for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it came from `rd_kafka_topic_new`, is given up here only, and its producer is still there.
        unsafe { sys::rd_kafka_topic_destroy(self.0.as_ptr()) };
    }
}

/// A topic of a producer.
pub(crate) struct Topic<'a, C: ProducerContext> {
    producer: &'a BaseProducer<C>,
    handle: NonNull<RDKafkaTopic>,
}

/// A record as it is produced; its bytes are copied.
pub(crate) struct Record<'a> {
    /// Chosen by the key when there is none.
    pub(crate) partition: Option<i32>,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: Option<RawHeaders>,
}

impl<C: ProducerContext> Native<C>
where
    BaseProducer<C>: FromClientConfigAndContext<C>,
{
    pub(crate) fn new(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        Ok(Self { topics: Mutex::default(), producer: config.create_with_context(context)? })
    }
}

impl<C: ProducerContext> Native<C> {
    /// The library's own, for its calls that have names.
    pub(crate) fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }

    /// A topic, whether it exists or not. The first call for each asks the brokers for it and returns meanwhile.
    ///
    /// # Errors
    /// [`Code::InvalidTopic`] for a name that no topic can have.
    pub(crate) fn topic(&self, name: &str) -> Result<Topic<'_, C>, Code> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = match topics.get(name) {
            Some(known) => known.0,
            None => {
                let text = CString::new(name).map_err(|_| Code::InvalidTopic)?;
                // SAFETY: the producer lives, the name is text that ends with zero and is copied, and no configuration
                // means that of the producer.
                let handle = unsafe {
                    sys::rd_kafka_topic_new(self.producer.client().native_ptr(), text.as_ptr(), ptr::null_mut())
                };
                let handle = NonNull::new(handle).ok_or(Code::InvalidTopic)?;
                topics.insert(name.to_owned(), Owned(handle));
                handle
            }
        };
        // Never taken out of the map, so it lives as long as `self`.
        Ok(Topic { producer: &self.producer, handle })
    }

    /// Sends what waits for others to be sent along with, and waits for all reports to be taken by whoever polls.
    /// Whether nothing is left.
    pub(crate) fn flush(&self, most: Duration) -> bool {
        // SAFETY: the producer lives.
        let flushed = unsafe { sys::rd_kafka_flush(self.producer.client().native_ptr(), milliseconds(most)) };
        flushed == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// Gives up what waits to be sent, and does not wait until that is done. Each has its report.
    pub(crate) fn give_back(&self) {
        let unsent = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: the producer lives. With these flags it cannot be refused.
        unsafe { sys::rd_kafka_purge(self.producer.client().native_ptr(), unsent) };
    }
}

impl<C: ProducerContext> Topic<'_, C> {
    /// Puts a record into the queue. What its report carries is `tag`.
    ///
    /// # Errors
    /// It is not in the queue, and there will be no report.
    pub(crate) fn produce(&self, record: Record<'_>, tag: usize) -> Result<(), Code> {
        let (payload, payload_size) = raw(record.payload);
        let (key, key_size) = raw(record.key);
        let headers = record.headers.as_ref().map_or(ptr::null_mut(), |headers| headers.0.as_ptr());
        // SAFETY: each field is followed by what the library reads for it, in its C types. Producer and topic live and
        // belong together. Payload and key are copied before the call returns. The headers are ours until it succeeds.
        let refused = unsafe {
            sys::rd_kafka_producev(
                self.producer.client().native_ptr(),
                Field::RD_KAFKA_VTYPE_RKT,
                self.handle.as_ptr(),
                Field::RD_KAFKA_VTYPE_PARTITION,
                record.partition.unwrap_or(ANY_PARTITION),
                Field::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                Field::RD_KAFKA_VTYPE_VALUE,
                payload,
                payload_size,
                Field::RD_KAFKA_VTYPE_KEY,
                key,
                key_size,
                Field::RD_KAFKA_VTYPE_OPAQUE,
                tag as *mut c_void,
                Field::RD_KAFKA_VTYPE_HEADERS,
                headers,
                Field::RD_KAFKA_VTYPE_END,
            )
        };
        match refused {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                // They are the library's now.
                std::mem::forget(record.headers);
                Ok(())
            }
            refused => Err(refused.into()),
        }
    }
}

/// The library chooses.
const ANY_PARTITION: i32 = -1;

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Null for what is absent, which is not the same as empty.
fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

/// Whether a message that the report says was not stored may be stored all the same. The error of the report does not
/// tell: it says that the time was up, whether the message was sent or not.
pub(crate) fn may_be_stored(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is borrowed.
    let status = unsafe { sys::rd_kafka_message_status(message.ptr()) };
    status != sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// Headers as the library holds them: names and values of any length and any bytes, but for zeros in names, where its
/// readers stop.
pub(crate) struct RawHeaders(NonNull<RDKafkaHeaders>);

impl RawHeaders {
    /// Headers with room for so many; `None` when there is no memory.
    pub(crate) fn with_room(count: usize) -> Option<Self> {
        // SAFETY: allocates, and touches nothing else.
        NonNull::new(unsafe { sys::rd_kafka_headers_new(count) }).map(Self)
    }

    /// Adds a header at the end. Copies.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] for a name with a zero byte and for what is larger than any message.
    pub(crate) fn add(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), Code> {
        let size =
            |bytes: &[u8]| i32::try_from(bytes.len()).map(|size| size as isize).map_err(|_| Code::InvalidArgument);
        if name.contains(&0) {
            return Err(Code::InvalidArgument);
        }
        let (name_size, value_size) = (size(name)?, size(value.unwrap_or_default())?);
        let value = value.map_or(ptr::null(), <[u8]>::as_ptr);
        // SAFETY: the headers are ours alone; both sizes are exact and not negative, which would mean text.
        let refused = unsafe {
            sys::rd_kafka_header_add(
                self.0.as_ptr(),
                name.as_ptr().cast::<c_char>(),
                name_size,
                value.cast::<c_void>(),
                value_size,
            )
        };
        match refused {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            refused => Err(refused.into()),
        }
    }
}

impl Drop for RawHeaders {
    fn drop(&mut self) {
        // SAFETY: ours: those that the library took were forgotten.
        unsafe { sys::rd_kafka_headers_destroy(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests;

//! A record as the library has it.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use rdkafka::bindings as rdsys;
use rdkafka::error::RDKafkaErrorCode;

use super::code::outcome_at;
use super::headers::{bytes, headers_of};

/// A message of the library, destroyed when dropped.
pub(crate) struct Message(NonNull<rdsys::rd_kafka_message_t>);

impl Message {
    pub(super) fn new(message: *mut rdsys::rd_kafka_message_t) -> Option<Self> {
        NonNull::new(message).map(Self)
    }

    fn get(&self) -> &rdsys::rd_kafka_message_t {
        // SAFETY: it is ours until `drop`, and nobody changes it.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn offset(&self) -> i64 {
        self.get().offset
    }

    pub(crate) fn partition(&self) -> i32 {
        self.get().partition
    }

    /// Tells topics apart without comparing their names.
    pub(crate) fn topic_handle(&self) -> *const c_void {
        self.get().rkt.cast_const().cast()
    }

    pub(crate) fn topic(&self) -> String {
        if self.get().rkt.is_null() {
            return String::new();
        }
        // SAFETY: the message holds a reference to its topic, whose name is a string that lives as long.
        unsafe { CStr::from_ptr(rdsys::rd_kafka_topic_name(self.get().rkt)) }.to_string_lossy().into_owned()
    }

    pub(crate) fn error(&self) -> Option<RDKafkaErrorCode> {
        // SAFETY: the message is ours until `drop`.
        unsafe { outcome_at(&raw const (*self.0.as_ptr()).err) }.err()
    }

    pub(crate) fn error_text(&self) -> String {
        // SAFETY: of a message with an error the payload is its text, or nothing; either lives as long as the message.
        unsafe {
            let text = rdsys::rd_kafka_message_errstr(self.get());
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        }
    }

    pub(crate) fn payload(&self) -> Option<&[u8]> {
        // SAFETY: so many bytes are there, and they live as long as the message.
        unsafe { bytes(self.get().payload, self.get().len) }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        // SAFETY: so many bytes are there, and they live as long as the message.
        unsafe { bytes(self.get().key, self.get().key_len) }
    }

    pub(crate) fn published_ms(&self) -> Option<u64> {
        let mut kind = rdsys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is ours, `kind` is written.
        let ms = unsafe { rdsys::rd_kafka_message_timestamp(self.get(), &raw mut kind) };
        u64::try_from(ms).ok()
    }

    /// The headers in their order. A name ends at its first zero byte.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        // SAFETY: the message is ours until `drop`.
        unsafe { headers_of(self.0.as_ptr()) }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing of it is used after this.
        unsafe { rdsys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

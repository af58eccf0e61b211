//! What librdkafka answered, and how to copy it.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;

use rdkafka::bindings::{
    rd_kafka_error_code, rd_kafka_error_string, rd_kafka_error_t, rd_kafka_event_destroy, rd_kafka_event_error,
    rd_kafka_event_error_string, rd_kafka_event_t, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t,
};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::code::{self, outcome_at};
use super::{Library, Partition};
use crate::error::Failure;

/// The answer to one call. What librdkafka gives out of it lives as long as it does.
pub(super) struct Answer {
    event: NonNull<rd_kafka_event_t>,
    /// What is answered may belong to it.
    _client: Library,
}

// SAFETY: an event has one owner, and librdkafka does not tie it to a thread.
unsafe impl Send for Answer {}

impl Answer {
    pub(super) fn new(event: NonNull<rd_kafka_event_t>, client: Library) -> Self {
        Self { event, _client: client }
    }

    pub(super) fn event(&self) -> *mut rd_kafka_event_t {
        self.event.as_ptr()
    }

    /// The answer, unless the call as a whole failed.
    pub(super) fn checked(self) -> Result<Self, Failure> {
        // SAFETY: the event is alive, and its text with it.
        let (error, text) =
            unsafe { (rd_kafka_event_error(self.event()), text(rd_kafka_event_error_string(self.event()))) };
        match error {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(self),
            error => Err(Failure::new(error.into(), text)),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is ours, and the client it came from is alive.
        unsafe { rd_kafka_event_destroy(self.event()) };
    }
}

/// A copy of a text; empty where there is none.
///
/// # Safety
/// It is null or ends with a zero byte.
pub(super) unsafe fn text(text: *const c_char) -> String {
    match text.is_null() {
        true => String::new(),
        // SAFETY: as demanded.
        false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
    }
}

/// The elements of an array.
///
/// # Safety
/// There are `count` of them for as long as the answer lives, which the caller keeps.
pub(super) unsafe fn elements<'a, T>(array: *mut *const T, count: usize) -> &'a [*const T] {
    match array.is_null() || count == 0 {
        true => &[],
        // SAFETY: as demanded.
        false => unsafe { std::slice::from_raw_parts(array.cast_const(), count) },
    }
}

/// What went wrong, if anything did.
pub(super) fn outcome(error: rd_kafka_resp_err_t, text: String) -> Result<(), Failure> {
    code::outcome(error as i32).map_err(|code| Failure::new(code, text))
}

/// As [`outcome`], of an error as an object.
///
/// # Safety
/// It is null or alive.
pub(super) unsafe fn outcome_of(error: *const rd_kafka_error_t) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: as demanded.
    unsafe { outcome(rd_kafka_error_code(error), text(rd_kafka_error_string(error))) }
}

/// One element of a list of partitions.
pub(super) struct Element {
    pub(super) partition: Partition,
    pub(super) offset: i64,
    pub(super) metadata: String,
    pub(super) outcome: Result<(), Failure>,
}

/// Copies a list of partitions.
///
/// # Safety
/// It is null or alive.
pub(super) unsafe fn copied(list: *const rd_kafka_topic_partition_list_t) -> Vec<Element> {
    // SAFETY: as demanded; a list says how many elements it has, and an element how long its metadata are.
    unsafe {
        let Some(list) = list.as_ref().filter(|list| list.cnt > 0) else { return Vec::new() };
        let elements = std::slice::from_raw_parts(list.elems, list.cnt.unsigned_abs() as usize);
        let copy = elements.iter().map(|element| {
            let metadata = match element.metadata.is_null() {
                true => &[],
                false => std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size),
            };
            Element {
                partition: (text(element.topic), element.partition),
                offset: element.offset,
                metadata: String::from_utf8_lossy(metadata).into_owned(),
                outcome: outcome_at(&raw const element.err).map_err(|code| Failure::new(code, String::new())),
            }
        });
        copy.collect()
    }
}

/// A text for librdkafka.
pub(super) fn c_text(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::new(Code::InvalidArgument, format!("{text:?} contains a zero byte")))
}

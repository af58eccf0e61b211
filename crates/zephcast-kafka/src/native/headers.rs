//! Headers of a record, byte for byte: the Rust client panics at a name that is not UTF-8.

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};
use std::slice;

use bytes::Bytes;
use rdkafka::bindings::{
    rd_kafka_header_cnt, rd_kafka_header_get_all, rd_kafka_message_headers, rd_kafka_message_t, rd_kafka_resp_err_t,
};
use rdkafka::message::BorrowedMessage;
use zephcast_core::Headers;

/// Copies the headers of a record.
pub(crate) fn headers(record: &BorrowedMessage<'_>) -> Headers {
    // SAFETY: the record is alive for as long as it is borrowed.
    let headers = unsafe { headers_of(record.ptr()) };
    headers.map(|(name, value)| (Bytes::copy_from_slice(name), value.map(Bytes::copy_from_slice))).collect()
}

/// The headers in their order. A name ends at its first zero byte.
///
/// # Safety
/// The message is alive for `'a`.
pub(super) unsafe fn headers_of<'a>(
    message: *const rd_kafka_message_t,
) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
    let mut list = null_mut();
    // SAFETY: the message is alive. Its list belongs to it, is there when no error is told, and is not changed.
    let count = unsafe {
        match rd_kafka_message_headers(message, &raw mut list) {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => rd_kafka_header_cnt(list),
            _ => 0,
        }
    };
    (0..count).map_while(move |index| {
        let (mut name, mut value, mut length) = (null(), null(), 0);
        // SAFETY: each entry's name and value live as long as the list does, and that as long as the message.
        unsafe {
            let code = rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut length);
            let found = code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && !name.is_null();
            found.then(|| (CStr::from_ptr(name).to_bytes(), bytes(value, length)))
        }
    })
}

/// The bytes at `start`; `None` for null.
///
/// # Safety
/// Null, or so many bytes are there for `'a`.
pub(super) unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as demanded.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
}

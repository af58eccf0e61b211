//! Headers of a record, byte for byte: the Rust client panics at a name that is not UTF-8.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use bytes::Bytes;
use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers, rd_kafka_resp_err_t};
use rdkafka::message::BorrowedMessage;
use zephcast_core::Headers;

/// Copies the headers of a record. A name ends at its first zero byte.
pub(crate) fn headers(record: &BorrowedMessage<'_>) -> Headers {
    let mut list = null_mut();
    let mut copy = Vec::new();
    // SAFETY: the record is alive, and its headers with it; a name ends with a zero byte, and a value is as long as is
    // said.
    unsafe {
        let found = rd_kafka_message_headers(record.ptr(), &raw mut list);
        if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Headers::new();
        }
        for index in 0.. {
            let (mut name, mut value, mut length) = (null(), null(), 0);
            let found = rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut length);
            if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            let name = Bytes::copy_from_slice(CStr::from_ptr(name).to_bytes());
            let value = (!value.is_null())
                .then(|| Bytes::copy_from_slice(std::slice::from_raw_parts(value.cast::<u8>(), length)));
            copy.push((name, value));
        }
    }
    copy.into_iter().collect()
}

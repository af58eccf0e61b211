//! Where a partition's log begins, without asking the broker.

use std::ffi::CString;

use rdkafka::bindings::rd_kafka_get_watermark_offsets;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;

/// The first offset of the log, as the last answer to a fetch told it. `None` before there was one.
pub(crate) fn log_start<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut first, mut end) = (-1, -1);
    // SAFETY: the client lives as long as `consumer`; everything else lives until the call returns.
    let code = unsafe {
        let client = consumer.client().native_ptr();
        rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &raw mut first, &raw mut end)
    };
    (code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && first >= 0).then_some(first)
}

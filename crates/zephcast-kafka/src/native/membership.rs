//! Whether a group knows its member.

use rdkafka::bindings::{rd_kafka_mem_free, rd_kafka_memberid};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

/// Whether the consumer has the id that its group gave it. Only then it can tell the group that it leaves.
pub(crate) fn is_known<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> bool {
    // SAFETY: the client lives as long as `consumer`; the answer is null, or a string that is ours to free.
    unsafe {
        let client = consumer.client().native_ptr();
        let id = rd_kafka_memberid(client);
        let known = !id.is_null() && *id != 0;
        if !id.is_null() {
            rd_kafka_mem_free(client, id.cast());
        }
        known
    }
}

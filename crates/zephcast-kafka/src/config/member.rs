//! What a member of a group reads with.

use std::time::Duration;

use rdkafka::ClientConfig;
use zephcast_core::{MemberName, Result};

use super::{GroupProtocol, KafkaConfig};
use crate::error::invalid;
use crate::topics::escaped;

/// What a broker allows for `group.instance.id`.
const MAX_INSTANCE: usize = 249;
/// What the library allows for a session.
const MAX_LEASE: Duration = Duration::from_secs(3_600);

impl KafkaConfig {
    /// Whether a member of this name and lease can be made with these settings.
    ///
    /// # Errors
    /// `InvalidInput`, saying what is wrong.
    pub(crate) fn validate_member(&self, operation: &'static str, member: &MemberName, lease: Duration) -> Result<()> {
        if self.static_membership && escaped(member.as_str()).len() > MAX_INSTANCE {
            let why = format!("the name of a member with static membership has at most {MAX_INSTANCE} bytes");
            return Err(invalid(operation, why));
        }
        // With the new protocol the broker decides, and there is nothing to agree with.
        if self.group_protocol == GroupProtocol::Consumer {
            return Ok(());
        }
        if lease > MAX_LEASE {
            return Err(invalid(operation, format!("a lease is at most {MAX_LEASE:?} on Kafka")));
        }
        if lease > self.max_poll_interval {
            let interval = self.max_poll_interval;
            let why =
                format!("a lease of {lease:?} is longer than the max poll interval of {interval:?}; make that longer");
            return Err(invalid(operation, why));
        }
        Ok(())
    }

    /// What a member's consumer is made with.
    pub(crate) fn member_config(&self, group: &str, member: &MemberName, lease: Duration) -> ClientConfig {
        let mut config = self.client_config();
        config
            .set("group.id", group)
            .set("client.id", member.as_str())
            // Only the driver knows what was settled, and where to begin.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // With "error" fetching would stop for good, see `poll_thread::logs`.
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            // Reading in batches counts the offset of an event as read (`rd_kafka_q_serve_rkmessages`, librdkafka 2.12).
            .set("enable.partition.eof", "false")
            .set("allow.auto.create.topics", "false")
            .set("max.poll.interval.ms", self.max_poll_interval.as_millis().to_string())
            // New partitions are found in this time.
            .set("topic.metadata.refresh.interval.ms", "10000")
            // Above its limits the library stops fetching for this long; its default of 1 s halves the throughput.
            .set("fetch.queue.backoff.ms", "5")
            // A partition that is assigned waits for the answer to the request that is under way.
            .set("fetch.wait.max.ms", "100")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", "16384")
            .set("check.crcs", "true")
            // How often is looked which nodes are away, see `nodes`.
            .set("statistics.interval.ms", "4000");
        if self.static_membership {
            config.set("group.instance.id", escaped(member.as_str()));
        }
        match self.group_protocol {
            GroupProtocol::Classic => set_classic(&mut config, "cooperative-sticky", lease),
            GroupProtocol::Eager => set_classic(&mut config, "range,roundrobin", lease),
            GroupProtocol::Consumer => {
                config.set("group.protocol", "consumer");
            }
        }
        self.set_properties(&mut config);
        config
    }
}

fn set_classic(config: &mut ClientConfig, strategy: &str, lease: Duration) {
    let session = lease.as_millis().max(1);
    // A rebalance is noticed by the next heartbeat.
    let heartbeat = (session / 3).clamp(1, 1_000);
    config
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", strategy)
        .set("session.timeout.ms", session.to_string())
        .set("heartbeat.interval.ms", heartbeat.to_string());
}

//! What raw clients are set to: as ours by default, so that the clients are compared and not their settings.

use std::time::Duration;

use rdkafka::ClientConfig;

/// How often what was handled is committed.
pub(super) const COMMIT_EVERY: Duration = Duration::from_millis(200);

/// The header with a message's id, which ours adds to every message that has none.
pub(super) const ID: &str = "zephcast-id";

/// The protocol by which partitions are shared out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Classic,
    Kip848,
}

/// Said with the figures.
pub(super) const COMPARED: [&str; 5] = [
    "kafka, both sides: 256 bytes and the header zephcast-id; acks=all, enable.idempotence, linger.ms=1, no compression; \
     fetch.wait.max.ms=100, fetch.queue.backoff.ms=5, queued.min.messages=100000, queued.max.messages.kbytes=16384, \
     read_committed, a commit each 200 ms",
    "kafka publish: as many messages in flight at most on both sides; raw is a \
     ThreadedProducer that counts reports, ours gives a receipt each",
    "kafka consume, group, members: raw reads the batch queue, up to 1,000 records a call, and keeps the next offset of each \
     partition by hand; it neither copies payloads nor reads headers, which ours does, but where `copied` says so",
    "kafka 3 members: each side in one process, raw with a thread and a batch queue for each member; the clock starts when \
     what was fetched while partitions moved is handled",
    "kafka join, leave: the longest time without a message of a partition that moves, at 200 messages a second each",
];

pub(super) fn producing(server: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", server)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("socket.nagle.disable", "true")
        .set("linger.ms", "1")
        .set("queue.buffering.max.messages", "10000000");
    settings
}

pub(super) fn consuming(server: &str, group: &str, protocol: Protocol) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", server)
        .set("group.id", group)
        .set("socket.nagle.disable", "true")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "100")
        .set("queued.min.messages", "100000")
        .set("queued.max.messages.kbytes", "16384")
        .set("check.crcs", "true");
    match protocol {
        Protocol::Kip848 => settings.set("group.protocol", "consumer"),
        Protocol::Classic => settings
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "30000")
            .set("heartbeat.interval.ms", "1000"),
    };
    settings
}

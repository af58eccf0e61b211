//! Properties of the client library that are set by their own names.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use secrecy::ExposeSecret;
use zephcast_core::Result;

use super::KafkaConfig;
use crate::error::invalid;

/// What cannot be set, and why: a name, or the beginning of names that ends in a dot.
const REFUSED: [(&str, &[&str]); 17] = [
    ("the brokers are those that the configuration is made with", &["bootstrap.servers", "metadata.broker.list"]),
    ("it is decided by `tls`, `user`, `password`, `sasl` and `token_provider`", &["security.", "sasl."]),
    ("TLS is always verified", &["enable.ssl.certificate.verification", "ssl.endpoint.identification.algorithm"]),
    ("it is decided by `tls`", &["ssl.ca.", "ssl.certificate.", "ssl.key.location", "ssl.key.pem", "ssl.keystore."]),
    ("tokens come from `token_provider`", &["enable.sasl.oauthbearer.unsecure.jwt", "https.ca."]),
    ("it runs or loads a program", &["plugin.library.paths", "ssl.engine.", "ssl.providers"]),
    ("it is the name of the member or the group", &["client.id", "group.id", "group.instance.id"]),
    ("it is decided by `group_protocol`", &["group.protocol", "group.protocol.type", "partition.assignment.strategy"]),
    ("it follows from the lease", &["session.timeout.ms", "heartbeat.interval.ms"]),
    (
        "it has a setting of its own",
        &[
            "socket.timeout.ms",
            "socket.connection.setup.timeout.ms",
            "max.poll.interval.ms",
            "linger.ms",
            "queue.buffering.max.ms",
            "auto.commit.interval.ms",
            "message.max.bytes",
        ],
    ),
    (
        "how large, how many and how late messages can be is promised by publishers",
        &[
            "batch.size",
            "queue.buffering.max.messages",
            "queue.buffering.max.kbytes",
            "delivery.timeout.ms",
            "message.timeout.ms",
        ],
    ),
    ("a receipt means that every in-sync replica has the message", &["acks", "request.required.acks"]),
    (
        "messages keep their order and are stored once",
        &[
            "enable.idempotence",
            "enable.gapless.guarantee",
            "transactional.id",
            "transaction.timeout.ms",
            "queuing.strategy",
            "delivery.report.only.error",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "retries",
            "message.send.max.retries",
        ],
    ),
    (
        "only what was settled is committed",
        &["enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store", "offset.store."],
    ),
    (
        "what a member reads, and from where, is decided by the group",
        &["auto.offset.reset", "isolation.level", "enable.partition.eof", "consume.callback.max.messages"],
    ),
    ("a stream is created when that is asked for", &["allow.auto.create.topics", "topic.blacklist"]),
    (
        "it belongs to the inside of the driver",
        &["statistics.interval.ms", "log.queue", "log_level", "enabled_events", "internal.termination.signal", "test."],
    ),
];

/// Whether the value of a property may be a secret.
pub(super) fn is_secret(name: &str) -> bool {
    name.ends_with("password")
}

impl KafkaConfig {
    pub(super) fn validate_properties(&self, operation: &'static str) -> Result<()> {
        for (name, value) in &self.properties {
            let is_meant = |refused: &&str| *refused == name || refused.ends_with('.') && name.starts_with(*refused);
            if let Some((why, _)) = REFUSED.iter().find(|(_, names)| names.iter().any(is_meant)) {
                return Err(invalid(operation, format!("the property {name:?} cannot be set: {why}")));
            }
            if name.starts_with("ssl.") && self.tls.is_none() {
                return Err(invalid(operation, format!("the property {name:?} means nothing without TLS")));
            }
            let mut alone = ClientConfig::new();
            alone.set(name, value.expose_secret());
            alone.create_native_config().map(drop).map_err(|refusal| {
                let why = match refusal {
                    KafkaError::ClientConfig(_, why, _, _) if !is_secret(name) => why,
                    _ => "its value cannot be used".to_owned(),
                };
                invalid(operation, format!("the client library refuses the property {name:?}: {why}"))
            })?;
        }
        Ok(())
    }

    /// What was set by name. Done last wherever a client is made, so that it is not overridden in silence.
    pub(crate) fn set_properties(&self, config: &mut ClientConfig) {
        for (name, value) in &self.properties {
            config.set(name, value.expose_secret());
        }
    }
}

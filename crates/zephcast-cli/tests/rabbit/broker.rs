//! RabbitMQ, as the cases of all brokers see it.

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use serde_json::{Value, json};

pub(crate) type Server = RabbitServer;

pub(crate) const NAME: &str = "rabbitmq";
pub(crate) const SCHEME: &str = "amqp";
/// Where a server is that is there already.
pub(crate) const URL_VARIABLE: &str = "ZEPHCAST_TEST_RABBITMQ_URL";
/// Whether a stream keeps what is published before there is a group.
pub(crate) const KEEPS_WITHOUT_GROUP: bool = false;
/// Whether a message that ends its process is suspected from the first time on, before it is known to be alone.
pub(crate) const FIRST_DEATH_COUNTS: bool = false;

/// A server that a test may break.
pub(crate) async fn start() -> Server {
    RabbitServer::start(RabbitOptions::default()).await.expect("a RabbitMQ")
}

/// The URL under which a stream that is created has so many units. A group has one queue, which its members share.
pub(crate) fn url(server: &str, _units: u32) -> String {
    server.to_owned()
}

/// The queue and its delivery tag.
pub(crate) fn check_position(position: &str, _published_ms: Option<u64>) {
    assert!(!position.is_empty(), "{position}");
}

/// No place is told: there is a copy in each group's queue.
pub(crate) fn check_published(position: &Value) {
    assert_eq!(*position, json!(null));
}

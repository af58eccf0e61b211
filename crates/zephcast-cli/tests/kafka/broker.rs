//! Kafka, as the cases of all brokers see it.

use std::io;

use integration_tests::kafka_server::{KafkaOptions, KafkaServer};
use serde_json::Value;

pub(crate) const NAME: &str = "kafka";
pub(crate) const SCHEME: &str = "kafka";
/// Where a server is that is there already.
pub(crate) const URL_VARIABLE: &str = "ZEPHCAST_TEST_KAFKA_URL";
/// Whether a stream keeps what is published before there is a group.
pub(crate) const KEEPS_WITHOUT_GROUP: bool = true;
/// Whether a message that ends its process is suspected from the first time on, before it is known to be alone.
pub(crate) const FIRST_DEATH_COUNTS: bool = true;
/// What `check` says of partitions.
pub(crate) const HAS_PARTITIONS: bool = true;
/// Whether it tells its own version, and since when a member has been idle.
pub(crate) const TELLS_VERSION: bool = false;
pub(crate) const TELLS_IDLE: bool = false;

/// A Kafka of one node.
pub(crate) struct Server(pub(crate) KafkaServer);

/// A server that a test may break.
pub(crate) async fn start() -> Server {
    start_with(KafkaOptions::default()).await
}

pub(crate) async fn start_with(options: KafkaOptions) -> Server {
    Server(KafkaServer::start(options).await.expect("a Kafka"))
}

/// The URL under which a stream that is created has so many units. Groups are of one stream: the cases call all of theirs
/// alike.
pub(crate) fn url(server: &str, units: u32) -> String {
    format!("{server}?groups-by-stream=true&partitions={units}")
}

/// Partition and offset.
pub(crate) fn check_position(position: &str, _published_ms: Option<u64>) {
    let (partition, offset) = position.split_once(':').expect("a partition and an offset");
    assert!([partition, offset].iter().all(|number| number.parse::<u64>().is_ok()), "{position}");
}

/// Where a message is said to be that was published.
pub(crate) fn check_published(position: &Value) {
    check_position(position.as_str().expect("text"), None);
}

impl Server {
    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    pub(crate) fn kill9(&mut self) -> io::Result<()> {
        self.0.kill9(0)
    }

    pub(crate) fn stop(&self) -> io::Result<()> {
        self.0.stop(0)
    }

    pub(crate) fn cont(&self) -> io::Result<()> {
        self.0.cont(0)
    }

    pub(crate) async fn shut_down(&mut self) -> io::Result<()> {
        self.0.shut_down(0).await
    }

    pub(crate) async fn restart(&mut self) -> io::Result<()> {
        self.0.restart(0).await
    }
}

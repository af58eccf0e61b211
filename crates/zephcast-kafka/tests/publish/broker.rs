//! The broker of the tests, topics on it, and a plain reader.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers as _, OwnedMessage};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use zephcast_core::driver::{Driver, Sink};
use zephcast_core::{Message, MessageId, Position, PublishError, StreamName};
use zephcast_kafka::{KafkaConfig, KafkaDriver};

pub(crate) type Outcome = Result<Option<Position>, PublishError>;

/// Where the broker is.
pub(crate) fn config() -> KafkaConfig {
    let url = std::env::var("ZEPHCAST_TEST_KAFKA_URL")
        .expect("set ZEPHCAST_TEST_KAFKA_URL to a Kafka for tests, such as kafka://127.0.0.1:9092");
    KafkaConfig::from_url(&url).expect("ZEPHCAST_TEST_KAFKA_URL is a URL of Kafka")
}

fn plain() -> ClientConfig {
    let hosts = config().hosts.into_iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>();
    let mut plain = ClientConfig::new();
    plain.set("bootstrap.servers", hosts.join(",")).set("group.id", "none").set("enable.auto.commit", "false");
    plain
}

fn admin() -> AdminClient<DefaultClientContext> {
    plain().create().expect("a client")
}

/// A name that no other test has.
pub(crate) fn name(test: &str) -> String {
    format!("publish-{test}-{:08x}", fastrand::u32(..))
}

pub(crate) async fn create(topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let made = admin().create_topics(&[new], &AdminOptions::new()).await.expect("an answer");
    made[0].as_ref().expect("a new topic");
}

pub(crate) async fn delete(topic: &str) {
    let gone = admin().delete_topics(&[topic], &AdminOptions::new()).await.expect("an answer");
    gone[0].as_ref().expect("deleted");
}

pub(crate) async fn driver() -> std::sync::Arc<KafkaDriver> {
    KafkaDriver::connect(config()).await.expect("connects")
}

/// A sink that creates nothing.
pub(crate) async fn sink(driver: &KafkaDriver, topic: &str) -> std::sync::Arc<dyn Sink> {
    let stream = StreamName::new(topic).expect("a name");
    driver.open_sink(&stream, false).await.expect("opens")
}

pub(crate) fn message(number: usize) -> Message {
    Message::new(number.to_string()).with_id(MessageId::new(format!("id-{number}")))
}

/// Everything in a topic, by partition and offset.
pub(crate) fn read(topic: &str, partitions: i32, expected: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = plain().create().expect("a client");
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&all).expect("assigned");
    let mut messages = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while messages.len() < expected {
        assert!(Instant::now() < deadline, "{} of {expected}", messages.len());
        if let Some(message) = consumer.poll(Duration::from_millis(200)) {
            messages.push(message.expect("a message").detach());
        }
    }
    assert!(consumer.poll(Duration::from_millis(300)).is_none(), "more than {expected}");
    messages.sort_by_key(|message| (message.partition(), message.offset()));
    messages
}

/// Headers as the plain client gives them.
pub(crate) fn headers(message: &OwnedMessage) -> Vec<(String, Option<Vec<u8>>)> {
    let Some(headers) = message.headers() else { return Vec::new() };
    headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}

//! Plain programs of Kafka, as others write them.

use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::prelude::*;

fn client() -> ClientConfig {
    let (host, port) = config().hosts.swap_remove(0);
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", format!("{host}:{port}"));
    client
}

/// Publishes texts to a partition, in order.
pub(crate) async fn produce(topic: &str, partition: i32, payloads: impl IntoIterator<Item = String>) {
    let producer: FutureProducer = client().set("linger.ms", "0").create().unwrap();
    for payload in payloads {
        let record = FutureRecord::<(), _>::to(topic).partition(partition).payload(&payload);
        producer.send(record, Duration::from_secs(10)).await.expect("a publish");
    }
}

/// Publishes one record with headers.
pub(crate) async fn produce_to(topic: &str, partition: i32, payload: &[u8], headers: &[(&str, &[u8])]) {
    let producer: FutureProducer = client().set("linger.ms", "0").create().unwrap();
    let mut list = OwnedHeaders::new();
    for (key, value) in headers {
        list = list.insert(Header { key, value: Some(*value) });
    }
    let record = FutureRecord::<(), _>::to(topic).partition(partition).payload(payload).headers(list);
    producer.send(record, Duration::from_secs(10)).await.expect("a publish");
}

/// Publishes in a transaction, and commits or aborts it.
pub(crate) async fn transact(topic: &'static str, payloads: &'static [&'static str], commits: bool) {
    use rdkafka::producer::Producer;
    let id = format!("transaction-{:016x}", fastrand::u64(..));
    let producer: FutureProducer = client().set("transactional.id", id).create().unwrap();
    let wait = Duration::from_secs(20);
    let starting = producer.clone();
    tokio::task::spawn_blocking(move || starting.init_transactions(wait).unwrap()).await.unwrap();
    producer.begin_transaction().unwrap();
    for payload in payloads {
        let record = FutureRecord::<(), _>::to(topic).partition(0).payload(*payload);
        producer.send(record, Duration::from_secs(10)).await.unwrap();
    }
    let ending = tokio::task::spawn_blocking(move || match commits {
        true => producer.commit_transaction(wait).unwrap(),
        false => producer.abort_transaction(wait).unwrap(),
    });
    ending.await.unwrap();
}

/// A plain consumer of a group.
pub(crate) struct Foreign(StreamConsumer);

impl Foreign {
    pub(crate) fn join(topic: &str, group: &GroupName, client_id: &str, settings: &[(&str, &str)]) -> Self {
        let mut client = client();
        client
            .set("group.id", group.as_str())
            .set("client.id", client_id)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest");
        for (name, value) in settings {
            client.set(*name, *value);
        }
        let consumer: StreamConsumer = client.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        Self(consumer)
    }

    /// Consumes so many records and commits; returns their payloads.
    pub(crate) async fn consume(&self, count: usize) -> Vec<String> {
        let mut payloads = Vec::new();
        while payloads.len() < count {
            let record = tokio::time::timeout(Duration::from_secs(30), self.0.recv()).await;
            let record = record.expect("a record within 30 s").unwrap();
            payloads.push(String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned());
            self.0.commit_message(&record, CommitMode::Sync).unwrap();
        }
        payloads
    }

    /// Waits until each of them has some partition of an empty topic; all of them take part in agreeing on it.
    pub(crate) async fn share(all: &[&Self]) {
        let until = Instant::now() + Duration::from_secs(30);
        while all.iter().any(|foreign| foreign.0.assignment().unwrap().count() == 0) {
            assert!(Instant::now() < until, "not everybody has a partition within 30 s");
            for foreign in all {
                let _ = tokio::time::timeout(Duration::from_millis(20), foreign.0.recv()).await;
            }
        }
    }

    /// Leaves the group; blocks for a moment.
    pub(crate) async fn leave(self) {
        tokio::task::spawn_blocking(move || drop(self)).await.unwrap();
    }
}

/// Reads a group's topic to its end, from where the group is.
pub(crate) async fn payloads_of(topic: &str, count: usize) -> Vec<String> {
    let reader = Foreign::join(topic, &unique_group(), "reader", &[]);
    let payloads = reader.consume(count).await;
    reader.leave().await;
    payloads
}

/// The names of the groups that begin so.
pub(crate) fn groups_of(prefix: &str) -> Vec<String> {
    let consumer: StreamConsumer = client().set("group.id", "looks").create().unwrap();
    let groups = consumer.fetch_group_list(None, Duration::from_secs(10)).unwrap();
    groups.groups().iter().map(|group| group.name().to_owned()).filter(|name| name.starts_with(prefix)).collect()
}

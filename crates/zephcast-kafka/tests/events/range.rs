//! A group whose place is not in the log.

use std::collections::BTreeSet;
use std::time::Duration;

use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::timeout;
use zephcast_kafka::{Consumer, ErrorKind, Event, KafkaConfig, OutOfRange};

use super::{SOON, told};

const STREAM: &str = "orders";

struct Lab {
    server: KafkaServer,
}

impl Lab {
    /// A stream of one partition with five messages.
    async fn new() -> Self {
        let lab = Self { server: KafkaServer::start(KafkaOptions::default()).await.expect("Kafka starts") };
        let client = lab.config().connect().await.expect("connects");
        let publisher = client.publisher(STREAM).create(true).await.expect("opens");
        for number in 0..5 {
            publisher.publish(number.to_string()).await.expect("stored");
        }
        lab
    }

    fn config(&self) -> KafkaConfig {
        KafkaConfig::from_url(&self.server.url()).expect("a URL").partitions(1)
    }

    async fn join(&self, group: &str, policy: OutOfRange) -> Consumer {
        let client = self.config().out_of_range(policy).connect().await.expect("connects");
        client.consumer(STREAM).group(group).start().await.expect("joins")
    }

    fn plain(&self, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.server.bootstrap(Listener::Plain)).set("group.id", group);
        config.create().expect("a client")
    }

    /// Puts the group here, as a plain program does.
    fn commit(&self, group: &str, offset: i64) {
        self.plain(group).commit(&at(Offset::Offset(offset)), CommitMode::Sync).expect("committed");
    }

    fn committed(&self, group: &str) -> Offset {
        let committed = self.plain(group).committed_offsets(at(Offset::Invalid), SOON).expect("an answer");
        committed.elements()[0].offset()
    }

    /// Deletes the topic and makes it again at once.
    async fn recreate(&self) {
        let mut plain = ClientConfig::new();
        plain.set("bootstrap.servers", self.server.bootstrap(Listener::Plain));
        let admin: AdminClient<DefaultClientContext> = plain.create().expect("a client");
        let deleted = admin.delete_topics(&[STREAM], &AdminOptions::new()).await.expect("an answer");
        deleted[0].as_ref().expect("deleted");
        let again = NewTopic::new(STREAM, 1, TopicReplication::Fixed(1));
        let made = async {
            while admin.create_topics([&again], &AdminOptions::new()).await.expect("an answer")[0].is_err() {}
        };
        timeout(SOON, made).await.expect("made in time");
    }

    async fn delete_before(&self, offset: i64) {
        let mut plain = ClientConfig::new();
        plain.set("bootstrap.servers", self.server.bootstrap(Listener::Plain));
        let admin: AdminClient<DefaultClientContext> = plain.create().expect("a client");
        let deleted = admin.delete_records(&at(Offset::Offset(offset)), &AdminOptions::new()).await.expect("an answer");
        deleted.elements()[0].error().expect("deleted");
    }
}

/// What comes, acked, until it is so many different payloads.
async fn payloads(consumer: &mut Consumer, least: usize) -> BTreeSet<String> {
    let mut payloads = BTreeSet::new();
    while payloads.len() < least {
        let delivery = timeout(SOON, consumer.next()).await.expect("in time").expect("no end").expect("a delivery");
        payloads.insert(delivery.payload_str().expect("text").to_owned());
        delivery.ack().expect("taken");
    }
    payloads
}

/// The new one has more records than the old one had, so that the group's place is in its log, too.
#[tokio::test]
async fn a_stream_that_was_made_anew_is_read_from_its_beginning() {
    let lab = Lab::new().await;
    let mut member = lab.join("living", OutOfRange::Earliest).await;
    let mut events = member.events();
    let mut leaver = lab.join("leaving", OutOfRange::Earliest).await;
    for consumer in [&mut member, &mut leaver] {
        assert_eq!(payloads(consumer, 5).await.len(), 5);
        consumer.commit().await.expect("durable");
    }
    lab.recreate().await;
    let client = lab.config().connect().await.expect("connects");
    let publisher = client.publisher(STREAM).await.expect("opens");
    let new: BTreeSet<String> = (0..20).map(|number| format!("new {number}")).collect();
    for payload in &new {
        publisher.publish(payload.clone()).await.expect("stored");
    }
    // It may not have heard of it.
    leaver.close(SOON).await.expect("leaves");

    assert_eq!(payloads(&mut member, new.len()).await, new);
    let moved = told(&mut events, |event| match event {
        Event::OutOfRange { from, to } => Some(format!("{from} to {to}")),
        _ => None,
    });
    assert!(moved.await.ends_with(" to 0:0"));
    let mut heir = lab.join("leaving", OutOfRange::Earliest).await;
    assert_eq!(payloads(&mut heir, new.len()).await, new);
    let status = client.group_status(STREAM, "living").await.expect("a status");
    assert!(status.lag.is_some_and(|lag| lag <= 20));
}

fn at(offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(STREAM, 0, offset).expect("a partition");
    list
}

/// From where to where it went, and the next so many payloads.
async fn moved(consumer: &mut Consumer, count: usize) -> (String, Vec<String>) {
    let mut events = consumer.events();
    let moved = told(&mut events, |event| match event {
        Event::OutOfRange { from, to } => Some(format!("{from} to {to}")),
        _ => None,
    });
    let moved = moved.await;
    let mut payloads = Vec::new();
    while payloads.len() < count {
        let delivery = timeout(SOON, consumer.next()).await.expect("in time").expect("no end").expect("a delivery");
        payloads.push(delivery.payload_str().expect("text").to_owned());
        delivery.ack().expect("taken");
    }
    (moved, payloads)
}

#[tokio::test]
async fn it_goes_on_as_it_was_told_and_says_so() {
    let lab = Lab::new().await;
    for group in ["first", "last", "none"] {
        lab.commit(group, 2);
    }
    for group in ["beyond", "beyond-last"] {
        lab.commit(group, 100);
    }
    lab.delete_before(4).await;

    let mut first = lab.join("first", OutOfRange::Earliest).await;
    assert_eq!(moved(&mut first, 1).await, ("0:2 to 0:4".into(), vec!["4".to_owned()]));
    let mut beyond = lab.join("beyond", OutOfRange::Earliest).await;
    assert_eq!(moved(&mut beyond, 1).await, ("0:100 to 0:4".into(), vec!["4".to_owned()]));
    let mut last = lab.join("last", OutOfRange::Latest).await;
    assert_eq!(moved(&mut last, 0).await.0, "0:2 to 0:5");
    let mut beyond_last = lab.join("beyond-last", OutOfRange::Latest).await;
    assert_eq!(moved(&mut beyond_last, 0).await.0, "0:100 to 0:5");

    let mut none = lab.join("none", OutOfRange::Fail).await;
    let ended = timeout(SOON, none.next()).await.expect("in time").expect("an end with a reason");
    let error = ended.expect_err("nothing is delivered");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("from 4 to before 5"), "{error}");
    // In this time the library would have been believed, which went to the log's first record.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(lab.committed("none"), Offset::Offset(2));
    none.close(SOON).await.expect("leaves");
    assert_eq!(lab.committed("none"), Offset::Offset(2));

    let client = lab.config().connect().await.expect("connects");
    client.publisher(STREAM).await.expect("opens").publish("5").await.expect("stored");
    for consumer in [&mut last, &mut beyond_last] {
        let delivery = timeout(SOON, consumer.next()).await.expect("in time").expect("no end").expect("a delivery");
        assert_eq!(delivery.payload_str().expect("text"), "5");
    }
}

//! Stream queues, which others read.

use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::BasicAckOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use zephcast::{ErrorKind, Message};

use super::other::{Other, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_published_to_and_read_by_everybody() {
    let other = Other::begin().await;
    let url = format!("{}&exchange=default&queue-type=stream", other.server.url());
    let client = zephcast::connect(&url).await.expect("connects");
    let publisher = client.publisher("journal").create(true).await.expect("creates");
    for n in 0..3 {
        publisher.publish(Message::new(n.to_string())).await.expect("is stored");
    }
    for _ in 0..2 {
        assert_eq!(other.read("journal", 3).await, ["0", "1", "2"]);
    }
    let refused = client.consumer("journal").group("all").start().await.expect_err("a log has no group");
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_one_for_a_groups_queue() {
    let other = Other::begin().await;
    other.log("theirs").await;
    let url = format!("{}&topology=expect&queue=theirs", other.server.url());
    let client = zephcast::connect(&url).await.expect("connects");
    other.publish("", "theirs", b"0", BasicProperties::default()).await;
    let refused = client.consumer("any").group("all").start().await.expect_err("it would be acked and stay");
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert_eq!(other.read("theirs", 1).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_once_lay_in_one_is_for_groups_all_the_same() {
    const MESSAGES: u32 = 300;
    let other = Other::begin().await;
    let client = zephcast::connect(&other.server.url()).await.expect("connects");
    let join =
        async || client.consumer("orders").group("billing").create(true).prefetch(20).start().await.expect("joins");
    join().await.close(PATIENCE).await.expect("leaves");
    for n in 0..MESSAGES {
        let mut headers = FieldTable::default();
        headers.insert(ShortString::from("x-stream-offset"), AMQPValue::LongLongInt(n.into()));
        other.publish("orders", "", n.to_string().as_bytes(), BasicProperties::default().with_headers(headers)).await;
    }
    let mut consumer = join().await;
    for n in 0..MESSAGES {
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("no end");
        let delivery = next.expect("no permanent error");
        assert_eq!((delivery.payload_str().expect("text"), delivery.redelivered()), (n.to_string().as_str(), false));
        delivery.ack().expect("is ours");
    }
    consumer.close(PATIENCE).await.expect("leaves");
}

impl Other {
    async fn log(&self, name: &str) {
        self.queue_of("stream", name, &[]).await;
    }

    /// So many from the beginning.
    async fn read(&self, log: &str, count: usize) -> Vec<String> {
        let mut consumer = self.consume(log, &[("x-stream-offset", "first")]).await;
        let mut read = Vec::new();
        while read.len() < count {
            let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("comes in time");
            let delivery = next.expect("no end").expect("works");
            delivery.acker.ack(BasicAckOptions::default()).await.expect("acks");
            read.push(String::from_utf8(delivery.data).expect("text"));
        }
        self.cancel(consumer).await;
        read
    }
}

//! What comes before its time: no queue delays for longer than its class, and clocks differ.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use tokio::time::Instant;

use super::other::{Other, PATIENCE};

const LATER: Duration = Duration::from_secs(7_200);

/// Due in two hours, with so much in its headers.
fn later(bytes: usize) -> BasicProperties {
    let due = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time") + LATER;
    let mut headers = FieldTable::default();
    headers.insert("zephcast-due-ms".into(), AMQPValue::LongLongInt(due.as_millis().try_into().expect("in range")));
    headers.insert("x-much".into(), AMQPValue::LongString(LongString::from("m".repeat(bytes))));
    BasicProperties::default().with_headers(headers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_before_its_time_waits_and_keeps_nobody_waiting() {
    let other = Other::begin().await;
    let client = zephcast::connect(&other.server.url()).await.expect("connects");
    let mut consumer = client.consumer("orders").group("all").start().await.expect("joins");
    other.publish("orders", "", b"later", later(1)).await;
    // No copy of it fits into a frame.
    other.publish("orders", "", b"full", later(131_007)).await;
    other.publish("orders", "", b"now", BasicProperties::default()).await;
    for expected in ["full", "now"] {
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("no end");
        let delivery = next.expect("no permanent error");
        assert_eq!(delivery.payload(), expected.as_bytes());
        delivery.ack_confirmed().await.expect("is settled");
    }
    let until = Instant::now() + PATIENCE;
    let waiting = async || {
        let columns = ["list_queues", "--no-table-headers", "name", "messages"];
        let queues = other.server.ctl(&columns).await.expect("a list");
        let full = queues.lines().filter(|line| line.starts_with("orders.") && !line.ends_with("\t0"));
        full.map(str::to_owned).collect::<Vec<_>>()
    };
    // The server counts every few seconds.
    loop {
        let waiting = waiting().await;
        if let [queue] = &waiting[..]
            && queue.starts_with("orders.all.retry-")
            && queue.ends_with("\t1")
        {
            break;
        }
        assert!(Instant::now() < until, "{waiting:?}");
    }
    consumer.close(PATIENCE).await.expect("leaves");
}

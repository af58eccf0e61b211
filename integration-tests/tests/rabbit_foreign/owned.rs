//! Queues that others own, and take for themselves.

use std::time::Duration;

use integration_tests::proxy::Proxy;
use lapin::BasicProperties;
use zephcast::Consumer;

use super::other::{Other, PATIENCE};

async fn next(consumer: &mut Consumer) -> String {
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("comes in time");
    let delivery = next.expect("no end").expect("no permanent error");
    let text = delivery.payload_str().expect("text").to_owned();
    delivery.ack_confirmed().await.expect("is ours");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_make_nothing_there_consumes_and_makes_nothing() {
    let other = Other::begin().await;
    other.queue("theirs", &[]).await;
    other.server.ctl(&["add_user", "guest-of-theirs", "secret"]).await.expect("adds");
    let rights = ["set_permissions", "guest-of-theirs", "^amq\\.gen-.*$", "^amq\\.default$", "^theirs$"];
    other.server.ctl(&rights).await.expect("permits");
    let address = other.server.addr();
    for topology in ["expect", "check&exchange=default"] {
        let url = format!("amqp://guest-of-theirs:secret@{address}/%2f?queue=theirs&topology={topology}");
        let client = zephcast::connect(&url).await.expect("connects");
        let mut consumer = client.consumer("any").group("all").start().await.expect("joins");
        other.publish("", "theirs", topology.as_bytes(), BasicProperties::default()).await;
        assert_eq!(next(&mut consumer).await, topology);
        consumer.close(PATIENCE).await.expect("leaves");
    }
    let exchanges = other.server.ctl(&["list_exchanges", "--no-table-headers", "name"]).await.expect("lists");
    assert!(!exchanges.contains("theirs"), "{exchanges}");
    assert_eq!(other.server.ctl(&["list_queues", "--no-table-headers", "name"]).await.expect("lists"), "theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_queue_somebody_has_for_himself_meanwhile_waits_until_it_has_it_again() {
    let other = Other::begin().await;
    let proxy = Proxy::start(other.server.addr()).await.expect("a proxy");
    let url = format!("amqp://guest:guest@{}/%2f?queue-type=classic&exclusive-consumer=true", proxy.addr());
    let client = zephcast::connect(&url).await.expect("connects");
    let mut consumer = client.consumer("orders").group("billing").create(true).start().await.expect("joins");
    other.publish("orders", "", b"0", BasicProperties::default()).await;
    assert_eq!(next(&mut consumer).await, "0");

    proxy.down().await;
    proxy.reset();
    let theirs = other.consume_alone("orders.billing").await;
    proxy.up().await.expect("comes up");
    // It is refused once, and comes once more.
    let before = refusals(&other);
    let refused = async {
        while refusals(&other) < before + 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        refused = tokio::time::timeout(PATIENCE, refused) => refused.expect("comes again in time"),
        next = consumer.next() => panic!("{next:?}"),
    }
    drop(theirs);
    other.publish("orders", "", b"1", BasicProperties::default()).await;
    assert_eq!(next(&mut consumer).await, "1");
    consumer.close(PATIENCE).await.expect("leaves");
}

/// How many consumers the server refused since another had their queue for itself.
fn refusals(other: &Other) -> usize {
    let log = std::fs::read_to_string(other.server.directory().join("rabbitmq.log")).expect("its log");
    log.matches("in exclusive use").count()
}

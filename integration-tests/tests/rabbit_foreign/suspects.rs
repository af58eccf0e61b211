//! What was with a program that crashed.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use zephcast::Event;

use super::other::{Other, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_that_takes_long_is_given_back_and_no_killer() {
    let mut other = Other::begin().await;
    let client = zephcast::connect(&format!("{}&consumer-timeout=4", other.server.url())).await.expect("connects");
    let builder = || client.consumer("orders").group("all").lease(Duration::from_secs(2));
    builder().start().await.expect("joins").close(PATIENCE).await.expect("leaves");
    other.publish("orders", "", b"slow", BasicProperties::default()).await;
    let _taken = other.take("orders.all").await;
    let retry = zephcast::Retry::exponential(Duration::ZERO).max_attempts(2);
    let mut consumer = builder().retry(retry).start().await.expect("joins");
    let mut events = consumer.events();
    other.crash().await;
    for _ in 0..3 {
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("no end");
        let delivery = next.expect("no permanent error");
        assert_eq!((delivery.payload().as_ref(), delivery.attempt()), (&b"slow"[..], 1));
        tokio::time::timeout(PATIENCE, delivery.lost()).await.expect("is given back in time");
    }
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("no end");
    next.expect("no permanent error").ack_confirmed().await.expect("is settled");
    let status = client.group_status("orders", "all").await.expect("a status");
    assert_eq!((status.lag, status.dead_letters), (Some(0), Some(0)), "{status:?}");
    consumer.close(PATIENCE).await.expect("leaves");
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::GivenBack { count, limit } = event {
            told.push((count, limit));
        }
    }
    assert_eq!(told, [(1, Duration::from_secs(4)); 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_is_no_killer_whose_member_lost_its_connection() {
    let mut other = Other::begin().await;
    let client = zephcast::connect(&other.server.url()).await.expect("connects");
    client.consumer("orders").group("all").start().await.expect("joins").close(PATIENCE).await.expect("leaves");
    other.publish("orders", "", b"fine", BasicProperties::default()).await;
    let _taken = other.take("orders.all").await;
    let retry = zephcast::Retry::exponential(Duration::ZERO).max_attempts(2);
    let mut consumer =
        client.consumer("orders").group("all").lease(Duration::from_secs(2)).retry(retry).start().await.expect("joins");
    other.crash().await;
    for _ in 0..4 {
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("no end");
        let delivery = next.expect("no permanent error");
        assert_eq!((delivery.payload().as_ref(), delivery.attempt()), (&b"fine"[..], 1));
        other.server.close_all_connections().await.expect("closes");
        tokio::time::timeout(PATIENCE, delivery.lost()).await.expect("is lost in time");
    }
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("no end");
    next.expect("no permanent error").ack_confirmed().await.expect("is settled");
    let status = client.group_status("orders", "all").await.expect("a status");
    assert_eq!((status.lag, status.dead_letters), (Some(0), Some(0)), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_believed_keeps_the_attempts_that_were_counted_before() {
    let mut other = Other::begin().await;
    let client = zephcast::connect(&other.server.url()).await.expect("connects");
    let retry = || zephcast::Retry::exponential(Duration::ZERO).max_attempts(5);
    let join = async || client.consumer("orders").group("all").retry(retry()).start().await.expect("joins");
    let mut consumer = join().await;
    // It leaves with something in its hands, so that whatever was on its way to it is believed.
    other.publish("orders", "", b"first", BasicProperties::default()).await;
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("no end");
    next.expect("no permanent error").ack_confirmed().await.expect("is settled");
    consumer.close(PATIENCE).await.expect("leaves");
    let mut headers = FieldTable::default();
    headers.insert("zephcast-attempts".into(), AMQPValue::LongLongInt(3));
    other.publish("", "orders.all", b"tried", BasicProperties::default().with_headers(headers)).await;
    let _taken = other.take("orders.all").await;
    other.crash().await;
    let next = tokio::time::timeout(PATIENCE, join().await.next()).await.expect("in time").expect("no end");
    let delivery = next.expect("no permanent error");
    assert_eq!((delivery.payload().as_ref(), delivery.attempt()), (&b"tried"[..], 4));
}

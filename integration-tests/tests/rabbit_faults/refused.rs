//! What the server or the driver refuses, by kind, and how long that takes.

use std::time::Duration;

use integration_tests::rabbit_server::RabbitServer;
use tokio::time::Instant;
use zephcast::{Client, ErrorKind, Message, Result};

use super::lab::{self, MOST};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_connect_is_told_so_at_once() {
    let server = lab::shared().await;
    server.ctl(&["add_vhost", "closed"]).await.expect("adds");
    server.ctl(&["add_user", "bob", "secret"]).await.expect("adds");
    let address = server.addr();
    let cases = [
        (format!("amqp://guest:wrong@{address}/%2f"), ErrorKind::Auth),
        (format!("amqp://guest:guest@{address}/nowhere"), ErrorKind::NotFound),
        (format!("amqp://bob:secret@{address}/closed"), ErrorKind::PermissionDenied),
        (format!("amqps://guest:guest@{address}/%2f"), ErrorKind::Auth),
        (format!("amqp://guest:guest@{address}/%2f?heart-beat=2"), ErrorKind::InvalidInput),
    ];
    for (url, expected) in cases {
        let begin = Instant::now();
        let error = zephcast::connect(&url).await.expect_err("is refused");
        let took = begin.elapsed();
        println!("{expected:?} after {took:?}: {error}");
        assert_eq!(error.kind(), expected, "{error:?}");
        assert!(took < Duration::from_secs(1), "{error} took {took:?}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("wrong") && !shown.contains("secret"), "{shown}");
    }
}

/// One consumer, so that messages have where to go; and what each publish of these says, in order, all at once.
async fn published(
    server: &RabbitServer,
    stream: &str,
    messages: Vec<Message>,
) -> (Client, Vec<Result<(), ErrorKind>>) {
    let client = lab::connect(server).await;
    let publisher = client.publisher(stream).await.expect("opens");
    let outcomes = publisher.publish_all(messages).await;
    for outcome in &outcomes {
        if let Err(error) = outcome {
            assert!(!error.is_unknown(), "{error:?}");
        }
    }
    (client, outcomes.into_iter().map(|outcome| outcome.map(drop).map_err(|error| error.kind())).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_queue_takes_is_told_of_exactly_that_message() {
    const STREAM: &str = "unroutable";
    let server = lab::shared().await;
    let bound = zephcast::connect(&format!("{}&binding=yes", server.url())).await.expect("connects");
    let mut consumer = lab::join(&bound, STREAM, 100).await;
    let is_bound = |number: u32| !number.is_multiple_of(3);
    let keyed = |number: u32| {
        let key = if is_bound(number) { "yes" } else { "no" };
        Message::new(number.to_string()).with_key(key)
    };
    let (_client, outcomes) = published(&server, STREAM, (0..900).map(keyed).collect()).await;
    for (number, outcome) in (0..).zip(outcomes) {
        let expected = if is_bound(number) { Ok(()) } else { Err(ErrorKind::Unroutable) };
        assert_eq!(outcome, expected, "{number}");
    }
    lab::all_come(&mut consumer, (0..900).filter(|number| is_bound(*number))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_fails_alone() {
    const STREAM: &str = "too-large";
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    let mut consumer = lab::join(&client, STREAM, 100).await;
    let message = |number: u32| {
        let plain = Message::new(number.to_string());
        match number {
            30 => Message::new(vec![b'x'; MOST + 1]),
            50 => plain.with_header("large", vec![b'x'; 200_000]),
            70 => plain.with_key("x".repeat(256)),
            // Just not too large, in its key.
            80 => plain.with_key("x".repeat(255)),
            _ => plain,
        }
    };
    let (_publishing, outcomes) = published(&server, STREAM, (0..100).map(message).collect()).await;
    for (number, outcome) in (0..).zip(outcomes) {
        let expected = match number {
            30 | 50 => Err(ErrorKind::TooLarge),
            70 => Err(ErrorKind::InvalidInput),
            _ => Ok(()),
        };
        assert_eq!(outcome, expected, "{number}");
    }
    lab::all_come(&mut consumer, (0..100).filter(|number| ![30, 50, 70].contains(number))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_of_another_type_is_used_as_it_is() {
    const STREAM: &str = "of-another-type";
    let server = lab::shared().await;
    let fanout = zephcast::connect(&format!("{}&exchange=fanout", server.url())).await.expect("connects");
    lab::join(&fanout, STREAM, 1).await.close(Duration::from_secs(5)).await.expect("leaves");
    let client = lab::connect(&server).await;
    let mut consumer = lab::join(&client, STREAM, 10).await;
    lab::publish(&client, STREAM, 0..10).await;
    lab::all_come(&mut consumer, 0..10).await;
    let types = server.ctl(&["list_exchanges", "--no-table-headers", "name", "type"]).await.expect("lists");
    assert!(types.lines().any(|line| line == "of-another-type\tfanout"), "{types}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_exists_otherwise_than_it_is_asked_for_is_not_used() {
    const STREAM: &str = "otherwise";
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    lab::join(&client, STREAM, 1).await.close(lab::PATIENCE).await.expect("leaves");
    for asked in ["single-active-consumer=true", "max-length=7", "message-ttl=1000", "exchange=fanout"] {
        let asking = zephcast::connect(&format!("{}&{asked}", server.url())).await.expect("connects");
        let error = asking.consumer(STREAM).group(lab::GROUP).start().await.expect_err("is otherwise");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{asked}: {error:?}");
        println!("{asked}: {error}; {:?}", error.advice());
        assert!(error.advice().is_some() && error.to_string().contains("inequivalent"), "{asked}: {error}");
        let url = format!("{}&{asked}&topology=check", server.url());
        let taking = zephcast::connect(&url).await.expect("connects");
        lab::join(&taking, STREAM, 1).await.close(lab::PATIENCE).await.expect("leaves");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_configure_what_exists_uses_it_as_it_is() {
    const STREAM: &str = "not-mine";
    let server = lab::shared().await;
    let mut consumer = lab::join(&lab::connect(&server).await, STREAM, 10).await;
    server.ctl(&["add_user", "eve", "secret"]).await.expect("adds");
    server.ctl(&["set_permissions", "eve", "^$", "^not-mine$", "^$"]).await.expect("permits");
    let url = format!("amqp://eve:secret@{}/%2f?exchange=fanout", server.addr());
    let publisher = zephcast::connect(&url).await.expect("connects").publisher(STREAM).await.expect("opens");
    publisher.publish(Message::new("0")).await.expect("is stored");
    lab::all_come(&mut consumer, 0..1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_consumer_is_the_only_one() {
    let server = lab::shared().await;
    let url = format!("{}&queue-type=classic&exclusive-consumer=true", server.url());
    let client = zephcast::connect(&url).await.expect("connects");
    let mut first = lab::join(&client, "exclusive", 10).await;
    lab::publish(&client, "exclusive", 0..3).await;
    for delivery in lab::take(&mut first, 3).await {
        delivery.ack_confirmed().await.expect("is ours");
        first.commit().await.expect("is settled");
    }
    let second = client.consumer("exclusive").group(lab::GROUP).start().await.expect_err("one is there");
    assert_eq!(second.kind(), ErrorKind::Conflict, "{second}");
    first.close(lab::PATIENCE).await.expect("leaves");
    lab::join(&client, "exclusive", 10).await.close(lab::PATIENCE).await.expect("leaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_only_queue_refuses_is_tried_again_and_then_nowhere() {
    const STREAM: &str = "full-alone";
    let server = lab::shared().await;
    let (client, stored) = full(&server, STREAM).await;
    let publisher = client.publisher(STREAM).timeout(Duration::from_secs(1)).await.expect("opens");
    let error = publisher.publish(Message::new("late")).await.expect_err("is full");
    assert_eq!((error.kind(), error.is_unknown()), (ErrorKind::Blocked, false), "{error:?}");
    // It is taken as soon as there is room.
    let publisher = client.publisher(STREAM).timeout(lab::PATIENCE).await.expect("opens");
    let publishing = tokio::spawn(async move { publisher.publish(Message::new(stored.to_string())).await.map(drop) });
    let mut consumer = lab::join(&client, STREAM, 10).await;
    lab::all_come(&mut consumer, 0..=stored).await;
    publishing.await.expect("no panic").expect("is stored in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_of_two_queues_refuses_is_with_the_other_group_once() {
    const STREAM: &str = "full-of-two";
    let server = lab::shared().await;
    let (client, _) = full(&server, STREAM).await;
    let plain = lab::connect(&server).await;
    let mut other = plain.consumer(STREAM).group("other").start().await.expect("joins");
    let publisher = client.publisher(STREAM).timeout(Duration::from_secs(5)).await.expect("opens");
    for number in 1..4 {
        let begin = Instant::now();
        let error = publisher.publish(Message::new(number.to_string())).await.expect_err("one is full");
        assert_eq!((error.kind(), error.is_unknown()), (ErrorKind::Blocked, true), "{error:?}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{error} took {:?}", begin.elapsed());
    }
    for number in 1..4 {
        let delivery = lab::next(&mut other).await;
        assert_eq!(lab::number(&delivery), number, "each once");
        delivery.ack().expect("is ours");
    }
    other.commit().await.expect("is settled");
    let status = plain.group_status(STREAM, "other").await.expect("is there");
    assert_eq!(status.lag, Some(0), "{status:?}");
}

/// A client whose group has a queue for one message, and how many are in it.
async fn full(server: &RabbitServer, stream: &str) -> (Client, u32) {
    let client = zephcast::connect(&format!("{}&max-length=1", server.url())).await.expect("connects");
    lab::join(&client, stream, 1).await.close(lab::PATIENCE).await.expect("leaves");
    let publisher = client.publisher(stream).timeout(Duration::from_secs(1)).await.expect("opens");
    // A quorum queue takes some more before it says so.
    for number in 0..10 {
        if publisher.publish(Message::new(number.to_string())).await.is_err() {
            return (client, number);
        }
    }
    panic!("nothing is refused");
}

//! Queues of others, whose dead letters have their own way.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::message::Delivery as Raw;
use lapin::options::BasicAckOptions;
use lapin::types::AMQPValue;
use zephcast::{Client, Consumer, Delivery, Error, ErrorKind, GroupName, StreamName};

use super::other::{Other, PATIENCE};

const QUEUE: &str = "theirs";
const DEAD: &str = "their-dead";

/// A queue whose dead letters go by an exchange to another one, at least once.
async fn with_dead_letters() -> Other {
    let other = Other::begin().await;
    other.exchange("dlx").await;
    other.queue(DEAD, &[]).await;
    other.bind(DEAD, "dlx", "given.up").await;
    let arguments = [
        ("x-dead-letter-exchange", "dlx"),
        ("x-dead-letter-routing-key", "given.up"),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ];
    other.queue(QUEUE, &arguments).await;
    other
}

async fn connect(other: &Other) -> Client {
    let url = format!("{}&topology=expect&queue={QUEUE}&dead-letters=native", other.server.url());
    zephcast::connect(&url).await.expect("connects")
}

async fn join(client: &Client) -> Consumer {
    let retry = zephcast::Retry::exponential(Duration::from_millis(50)).max_attempts(2);
    client.consumer("any").group("all").retry(retry).start().await.expect("joins")
}

async fn next(consumer: &mut Consumer) -> Delivery {
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("comes in time");
    next.expect("no end").expect("no permanent error")
}

/// What the broker itself says of a dead letter.
fn reason(raw: &Raw) -> Option<String> {
    let headers = raw.properties.headers().as_ref()?.inner();
    let AMQPValue::FieldArray(deaths) = headers.get("x-death")? else { return None };
    let last = deaths.as_slice().first()?.as_field_table()?.inner();
    match (last.get("queue")?, last.get("reason")?) {
        (AMQPValue::LongString(queue), AMQPValue::LongString(reason)) => Some(format!("{queue}: {reason}")),
        _ => None,
    }
}

async fn is_rejected(other: &Other, body: &[u8]) {
    let raw = other.take(DEAD).await;
    assert_eq!(raw.data, body);
    assert_eq!(reason(&raw).as_deref(), Some("theirs: rejected"));
    raw.acker.ack(BasicAckOptions::default()).await.expect("acks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_goes_the_queues_own_way() {
    let other = with_dead_letters().await;
    let client = connect(&other).await;
    let mut consumer = join(&client).await;
    other.publish("", QUEUE, b"rejected", BasicProperties::default()).await;
    next(&mut consumer).await.reject("it is malformed").expect("is ours");
    is_rejected(&other, b"rejected").await;
    // After the last attempt.
    other.publish("", QUEUE, b"failing", BasicProperties::default()).await;
    for attempt in 1..=2 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.attempt(), attempt);
        delivery.fail("it cannot be done").expect("is ours");
    }
    is_rejected(&other, b"failing").await;
    let status = client.group_status("any", "all").await.expect("a status");
    assert_eq!(status.dead_letters, None, "they are where the queue's owner wants them: {status:?}");
    let (stream, group) = (StreamName::new("any").expect("a name"), GroupName::new("all").expect("a name"));
    let listed = client.admin().dead_letters(&stream, &group, None, 10).await;
    assert_eq!(listed.expect_err("they are elsewhere").kind(), ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_what_may_have_killed_a_member() {
    let mut other = with_dead_letters().await;
    other.publish("", QUEUE, b"deadly", BasicProperties::default()).await;
    let _taken = other.take(QUEUE).await;
    let client = connect(&other).await;
    let mut consumer = join(&client).await;
    other.crash().await;
    let suspect = next(&mut consumer).await;
    assert!(suspect.redelivered());
    suspect.reject("it kills").expect("is ours");
    // Its member goes on.
    other.publish("", QUEUE, b"innocent", BasicProperties::default()).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.payload().as_ref(), b"innocent");
    delivery.ack_confirmed().await.expect("is settled");
    // It was not in that queue any more, so that the broker has nothing to say of it.
    let raw = other.take(DEAD).await;
    assert_eq!((raw.data.as_slice(), raw.routing_key.as_str(), reason(&raw)), (&b"deadly"[..], "given.up", None));
    let headers = raw.properties.headers().as_ref().expect("headers").inner();
    assert_eq!(headers.get("zephcast-reason"), Some(&AMQPValue::LongString("it kills".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_they_have_none_nobody_joins() {
    let other = Other::begin().await;
    other.queue(QUEUE, &[]).await;
    other.publish("", QUEUE, b"kept", BasicProperties::default()).await;
    let client = connect(&other).await;
    let refused = client.consumer("any").group("all").start().await.expect_err("would lose messages");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("no dead letter exchange"), "{refused}");
    let raw = other.take(QUEUE).await;
    assert_eq!((raw.data.as_slice(), raw.redelivered), (&b"kept"[..], false));
    // Its owner mends it, step by step; the management API is a moment behind.
    let policies = [
        (r#"{"dead-letter-exchange":"nowhere"}"#, "which does not exist"),
        (r#"{"dead-letter-exchange":"","dead-letter-routing-key":"nowhere"}"#, "which does not exist"),
        (r#"{"dead-letter-exchange":"unbound"}"#, "no queue is bound"),
        (r#"{"dead-letter-exchange":"dlx"}"#, "no `dead-letter-routing-key`"),
    ];
    other.exchange("dlx").await;
    other.queue(DEAD, &[]).await;
    other.bind(DEAD, "dlx", "given.up").await;
    other.exchange("unbound").await;
    for (policy, refusal) in policies {
        other.server.ctl(&["set_policy", "given-up", "^theirs$", policy]).await.expect("sets a policy");
        until(async || client.consumer("any").group("all").start().await.is_err_and(|error| refuses(&error, refusal)))
            .await;
    }
    let whole = r#"{"dead-letter-exchange":"dlx","dead-letter-routing-key":"given.up"}"#;
    other.server.ctl(&["set_policy", "given-up", "^theirs$", whole]).await.expect("sets a policy");
    until(async || client.consumer("any").group("all").start().await.is_ok()).await;
}

fn refuses(error: &Error, why: &str) -> bool {
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    error.to_string().contains(why)
}

async fn until(is: impl AsyncFn() -> bool) {
    let came = async { while !is().await {} };
    tokio::time::timeout(PATIENCE, came).await.expect("in time");
}

//! Queues of others, whose dead letters have their own way; and what the broker itself gives up, which becomes ours.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use lapin::BasicProperties;
use lapin::message::Delivery as Raw;
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use lapin::types::AMQPValue;
use zephcast::driver::{DeadLetter, Redrive};
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

const KEY: &str = "orders.eu";

fn own() -> (StreamName, GroupName) {
    (StreamName::new("orders").expect("a name"), GroupName::new("billing").expect("a name"))
}

/// The stream and the group are there, and nobody is in it.
async fn with_group(other: &Other) -> Client {
    let client = zephcast::connect(&other.server.url()).await.expect("connects");
    let (stream, group) = own();
    let mut spec = zephcast::driver::StreamSpec::new(stream);
    spec.groups = vec![group];
    client.admin().create_stream(&spec).await.expect("creates");
    client
}

/// All dead letters, once there are so many.
async fn letters(client: &Client, count: u64) -> Vec<DeadLetter> {
    let (stream, group) = own();
    let status = async || client.group_status(&stream, &group).await.expect("a status").dead_letters;
    until(async || status().await == Some(count)).await;
    let (admin, at_once) = (client.admin(), client.capabilities().dead_letters_at_once);
    let (mut letters, mut after): (Vec<DeadLetter>, _) = (Vec::new(), None);
    loop {
        let page = admin.dead_letters(&stream, &group, after, at_once).await.expect("lists");
        let Some(last) = page.last() else { return letters };
        after = Some(last.position);
        letters.extend(page);
        assert!(letters.len() as u64 <= count, "{count} letters, and {} are listed", letters.len());
    }
}

async fn redrive(client: &Client, letters: &[DeadLetter]) -> Vec<Redrive> {
    let (stream, group) = own();
    let places: Vec<_> = letters.iter().map(|letter| letter.position).collect();
    let mut answers = Vec::new();
    while answers.len() < places.len() {
        let some = client.admin().redrive_some(&stream, &group, &places[answers.len()..]).await;
        assert!(!some.is_empty(), "one at least is answered");
        answers.extend(some.into_iter().map(|answer| answer.expect("is redriven")));
    }
    answers
}

type Headers<'a> = Vec<(&'a [u8], Option<&'a [u8]>)>;

/// What is seen of a message: its key and its headers.
fn seen(delivery: &Delivery) -> (Option<&[u8]>, Headers<'_>) {
    let headers = delivery.headers().iter().map(|(name, value)| (&name[..], value.map(|value| &value[..])));
    (delivery.key().map(|key| &key[..]), headers.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_gives_up_is_told_and_redriven_as_it_came() {
    let other = Other::begin().await;
    let client = with_group(&other).await;
    let brief = || BasicProperties::default().with_expiration("1".into()).with_type("paid".into());
    let before_ms = now_ms();
    other.publish("orders", KEY, b"expired", brief()).await;
    other.publish("", "orders.billing", b"straight", brief()).await;
    letters(&client, 2).await;
    other.publish("orders", KEY, b"rejected", BasicProperties::default()).await;
    let raw = other.take("orders.billing").await;
    raw.acker.reject(BasicRejectOptions { requeue: false }).await.expect("rejects");

    let told = letters(&client, 3).await;
    let of = |payload: &str| told.iter().find(|letter| letter.message.payload() == payload).expect("is listed");
    for (payload, key, reason, exchange) in [
        ("expired", KEY, "expired", "orders"),
        ("straight", "orders.billing", "expired", "orders"),
        ("rejected", KEY, "rejected", "orders"),
    ] {
        let letter = of(payload);
        assert_eq!(letter.message.key().map(|key| &key[..]), Some(key.as_bytes()), "{letter:?}");
        assert!(letter.reason.starts_with(&format!("the broker gave it up: {reason}")), "{letter:?}");
        assert_eq!((letter.origin.as_str(), letter.attempts), (&*format!("{exchange}@orders.billing"), 0));
        let failed_ms = letter.last_failed_ms.expect("a time");
        assert!(failed_ms + 2_000 > before_ms && failed_ms <= now_ms(), "{failed_ms}, begun at {before_ms}");
    }
    assert_eq!(redrive(&client, &told).await, [Redrive::Redriven; 3]);
    assert_eq!(letters(&client, 0).await.len(), 0);

    let mut consumer = client.consumer("orders").group("billing").start().await.expect("joins");
    let brief: Headers<'_> = vec![(b"amqp.expiration", Some(b"1")), (b"amqp.type", Some(b"paid"))];
    let mut came = Vec::new();
    for _ in 0..3 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.attempt(), 1);
        match &delivery.payload()[..] {
            b"expired" => assert_eq!(seen(&delivery), (Some(KEY.as_bytes()), brief.clone())),
            b"straight" => assert_eq!(seen(&delivery), (Some(&b"orders.billing"[..]), brief.clone())),
            _ => assert_eq!(seen(&delivery), (Some(KEY.as_bytes()), Vec::new())),
        }
        came.push(delivery.payload().clone());
        delivery.ack().expect("is ours");
    }
    came.sort();
    assert_eq!(came, ["expired", "rejected", "straight"]);
    consumer.close(PATIENCE).await.expect("closes");
}

/// More than fit into one consumer of a look, and more than one call redrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_are_listed_and_redriven_once_each() {
    const COUNT: usize = 4_000;
    let other = Other::begin().await;
    let client = with_group(&other).await;
    for number in 0..COUNT {
        let properties = BasicProperties::default().with_expiration("1".into());
        other.publish("orders", KEY, number.to_string().as_bytes(), properties).await;
    }
    let told = letters(&client, COUNT as u64).await;
    // The broker says the second in which each failed, within which they are as they lie in the queue.
    let listed = numbers(&told);
    let failed = told.iter().map(|letter| letter.last_failed_ms).zip(&listed);
    assert!(failed.is_sorted(), "by time, and in the order of the queue");
    let all: BTreeSet<_> = listed.iter().copied().collect();
    assert!(all.into_iter().eq(0..COUNT), "each is listed");
    let places: BTreeSet<_> = told.iter().map(|letter| letter.position).collect();
    assert_eq!((listed.len(), places.len()), (COUNT, COUNT), "once, and at its own place");

    let again = letters(&client, COUNT as u64).await;
    assert_eq!(numbers(&again), listed, "a look leaves them as they were");
    assert_eq!(redrive(&client, &again).await, vec![Redrive::Redriven; COUNT]);
    assert_eq!(redrive(&client, &again[..1]).await, [Redrive::Gone]);
    assert_eq!(letters(&client, 0).await.len(), 0);
    let mut consumer = client.consumer("orders").group("billing").start().await.expect("joins");
    for number in numbers(&again) {
        let delivery = next(&mut consumer).await;
        let came = delivery.payload_str().expect("is text");
        assert_eq!(came, number.to_string(), "in the order in which they were asked for");
        delivery.ack().expect("is ours");
    }
    consumer.close(PATIENCE).await.expect("closes");
    let (stream, group) = own();
    let left = client.group_status(&stream, &group).await.expect("a status");
    assert_eq!((left.lag, left.dead_letters), (Some(0), Some(0)), "none came twice");
}

/// What they say, in order.
fn numbers(letters: &[DeadLetter]) -> Vec<usize> {
    let number = |letter: &DeadLetter| str::from_utf8(letter.message.payload()).expect("is text").parse();
    letters.iter().map(|letter| number(letter).expect("is a number")).collect()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    since.as_millis().try_into().expect("before long")
}

//! More delayed messages than a member reads ahead, and larger ones than usual.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use zephcast_core::driver::StreamSpec;
use zephcast_core::{Event, GroupName, StreamName};
use zephcast_kafka::GroupProtocol;

use crate::lab::{GROUP, Lab, PATIENCE, next, payloads};

/// Fetching of their partition pauses.
const MESSAGES: usize = 1_500;
/// Enough for another member to come and go.
const DELAY: Duration = Duration::from_secs(8);

/// By the eager protocol a member gives everything up and gets it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_paused_goes_on_when_it_comes_back() {
    let lab = Lab::with(&[], GroupProtocol::Eager).await;
    let retries = format!("{}.{GROUP}.retry-1s", lab.stream);
    let mut spec = StreamSpec::new(StreamName::new(&lab.stream).unwrap());
    spec.stream = StreamName::new(&retries).unwrap();
    lab.client.admin().create_stream(&spec).await.unwrap();
    let due = Instant::now() + DELAY;
    delayed(&lab, &retries).await;

    let mut consumer = lab.join().await;
    // It reads.
    lab.produce("", "first").await;
    assert_eq!(payloads(&mut consumer, 1).await, ["first"]);
    let mut events = consumer.events();
    let other = lab.join().await;
    let begun = async { while !matches!(events.next().await.expect("it lives"), Event::Revoked(_)) {} };
    tokio::time::timeout(PATIENCE, begun).await.expect("it gives everything up");
    other.close(PATIENCE).await.unwrap();
    assert!(Instant::now() < due, "nothing was delayed for long enough");
    let read = tokio::time::timeout(PATIENCE, payloads(&mut consumer, MESSAGES)).await.expect("all of them in time");
    assert!(Instant::now() >= due);
    assert_eq!(read.len(), MESSAGES);
    consumer.close(PATIENCE).await.unwrap();
}

/// What comes later, or never, is written with notes beside it, to topics of our own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_as_large_as_its_topic_takes_is_retried_and_given_up() {
    const SIZE: usize = 3_000_000;
    let lab = Lab::with(&[("max.message.bytes", "3000200")], GroupProtocol::Classic).await;
    let plain: FutureProducer = lab.plain().set("message.max.bytes", "4000000").create().unwrap();
    let payload = vec![7; SIZE];
    plain.send(FutureRecord::<(), _>::to(&lab.stream).payload(&payload), PATIENCE).await.unwrap();
    let mut consumer = lab.join().await;
    let first = next(&mut consumer).await;
    first.nack_after(Duration::from_millis(100)).unwrap();
    let again = next(&mut consumer).await;
    assert_eq!(again.payload().len(), SIZE);
    again.reject("too much").unwrap();
    consumer.close(PATIENCE).await.unwrap();
    let (stream, group) = (StreamName::new(&lab.stream).unwrap(), GroupName::new(GROUP).unwrap());
    let dead = lab.client.admin().dead_letters(&stream, &group, None, 10).await.unwrap();
    assert_eq!((dead.len(), dead[0].message.payload().len()), (1, SIZE));
}

async fn delayed(lab: &Lab, topic: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let due = (now + DELAY).as_millis().to_string();
    let producer: FutureProducer = lab.plain().create().unwrap();
    let sent = (0..MESSAGES).map(|number| {
        let headers = OwnedHeaders::new().insert(Header { key: "zephcast-due-ms", value: Some(&due) });
        let payload = format!("{number:8000}");
        let record = FutureRecord::<(), _>::to(topic).payload(&payload).headers(headers);
        producer.send_result(record).unwrap()
    });
    for sent in sent.collect::<Vec<_>>() {
        sent.await.unwrap().unwrap();
    }
}

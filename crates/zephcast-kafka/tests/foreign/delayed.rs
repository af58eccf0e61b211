//! More delayed messages than a member reads ahead.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use zephcast_core::driver::StreamSpec;
use zephcast_core::{Event, StreamName};
use zephcast_kafka::GroupProtocol;

use crate::lab::{GROUP, Lab, PATIENCE, payloads};

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

async fn delayed(lab: &Lab, topic: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let due = (now + DELAY).as_millis().to_string();
    let producer: FutureProducer = lab.plain().create().unwrap();
    let sent = (0..MESSAGES).map(|number| {
        let headers = OwnedHeaders::new().insert(Header { key: "zephcast-due-ms", value: Some(&due) });
        let payload = number.to_string();
        let record = FutureRecord::<(), _>::to(topic).payload(&payload).headers(headers);
        producer.send_result(record).unwrap()
    });
    for sent in sent.collect::<Vec<_>>() {
        sent.await.unwrap().unwrap();
    }
}

use std::time::Instant;

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Response};
use zephcast_core::Message;

use super::*;
use crate::KafkaConfig;
use crate::record::Notes;

const TOPIC: &str = "orders";

type Mock = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

fn cluster() -> Mock {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 2, 1).unwrap();
    cluster
}

/// A producer that is soon out of patience.
fn producer(servers: &str) -> Producer {
    let mut settings = settings(&KafkaConfig::new("localhost", 1).linger(Duration::ZERO));
    settings.set("bootstrap.servers", servers).set("delivery.timeout.ms", "2000").set("socket.timeout.ms", "1500");
    Producer::with(settings, Context::new(&KafkaConfig::new("localhost", 1))).unwrap()
}

fn outgoing() -> Outgoing {
    Outgoing::new(&Message::new("text"), &Notes::default()).unwrap()
}

fn failed(stored: &Result<(i32, i64), PublishError>) -> ErrorKind {
    let Err(PublishError::Failed(error)) = stored else { panic!("{stored:?}") };
    error.kind()
}

fn unknown(stored: &Result<(i32, i64), PublishError>) -> ErrorKind {
    let Err(PublishError::Unknown(error)) = stored else { panic!("{stored:?}") };
    error.kind()
}

#[tokio::test]
async fn one_record_is_stored_where_it_is_told() {
    let cluster = cluster();
    let producer = producer(&cluster.bootstrap_servers());
    assert_eq!(producer.store(TOPIC, Some(1), outgoing()).await.unwrap(), (1, 0));
    assert_eq!(producer.store(TOPIC, Some(1), outgoing()).await.unwrap(), (1, 1));
    assert_eq!(failed(&producer.store(TOPIC, Some(2), outgoing()).await), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_a_frozen_broker_got_is_unknown() {
    let cluster = cluster();
    let producer = producer(&cluster.bootstrap_servers());
    producer.store(TOPIC, None, outgoing()).await.unwrap();
    cluster.broker_round_trip_time(1, Duration::from_secs(60)).unwrap();
    assert_eq!(unknown(&producer.store(TOPIC, None, outgoing()).await), ErrorKind::Timeout);
}

#[tokio::test]
async fn what_no_broker_got_certainly_failed() {
    let producer = producer("127.0.0.1:1");
    let stored = producer.store(TOPIC, None, outgoing()).await;
    assert_eq!(failed(&stored), ErrorKind::Timeout);
    let error = stored.unwrap_err().error().clone();
    assert!(error.to_string().contains("nobody listens there"), "{error:?}");
}

#[tokio::test]
async fn what_comes_after_a_message_that_was_late_does_not_overtake_it() {
    let cluster = cluster();
    let producer = producer(&cluster.bootstrap_servers());
    producer.store(TOPIC, Some(0), outgoing()).await.unwrap();
    cluster.broker_down(1).unwrap();
    let began = Instant::now();
    let (late, later, ()) = tokio::join!(
        producer.store(TOPIC, Some(0), outgoing()),
        async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            producer.store(TOPIC, Some(0), outgoing()).await
        },
        async {
            tokio::time::sleep(Duration::from_millis(2_900)).await;
            cluster.broker_up(1).unwrap();
        }
    );
    assert_eq!(failed(&late), ErrorKind::Timeout);
    assert_eq!(failed(&later), ErrorKind::Unavailable);
    // It did not wait until its own time was up either.
    assert!(began.elapsed() < Duration::from_millis(3_300), "{:?}", began.elapsed());
    assert_eq!(producer.store(TOPIC, Some(0), outgoing()).await.unwrap(), (0, 1));
}

#[tokio::test]
async fn what_the_broker_refuses_says_why() {
    let cluster = cluster();
    let producer = producer(&cluster.bootstrap_servers());
    let cases = [
        (Response::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ErrorKind::PermissionDenied),
        (Response::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ErrorKind::TooLarge),
    ];
    for (response, kind) in cases {
        cluster.request_errors(Request::Produce, &[response]);
        assert_eq!(failed(&producer.store(TOPIC, None, outgoing()).await), kind);
        // It may be allowed meanwhile.
        let began = Instant::now();
        while let Err(error) = producer.store(TOPIC, None, outgoing()).await {
            assert_eq!(error.kind(), kind);
            assert!(began.elapsed() < Duration::from_secs(5), "{error:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_by_the_library_and_stored_once() {
    let cluster = cluster();
    let producer = producer(&cluster.bootstrap_servers());
    let passing = [
        Response::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Response::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Response::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    ];
    cluster.request_errors(Request::Produce, &passing);
    assert_eq!(producer.store(TOPIC, Some(0), outgoing()).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn what_too_few_replicas_refuse_for_too_long_certainly_failed() {
    let cluster = cluster();
    let producer = producer(&cluster.bootstrap_servers());
    cluster.request_errors(Request::Produce, &[Response::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 100]);
    // The library tries again by itself, and what it says in the end is that the time was up.
    assert_eq!(failed(&producer.store(TOPIC, Some(0), outgoing()).await), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_producer_that_the_library_gave_up_is_replaced() {
    let cluster = cluster();
    let producer = producer(&cluster.bootstrap_servers());
    producer.store(TOPIC, Some(0), outgoing()).await.unwrap();
    let first = producer.epoch().unwrap();
    first.native.fail();
    let began = Instant::now();
    let stored = loop {
        let stored = producer.store(TOPIC, Some(0), outgoing()).await;
        if let Err(PublishError::Failed(error)) = &stored {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(began.elapsed() < Duration::from_secs(5), "{stored:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        break stored;
    };
    assert_eq!(stored.unwrap(), (0, 1));
    assert!(!Arc::ptr_eq(&first, &producer.epoch().unwrap()));
    // Once nobody has it any more, it goes.
    let desk = first.reports().desk.clone();
    drop(first);
    while Arc::strong_count(&desk) > 1 {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_dropped_producer_sends_what_it_was_given() {
    let cluster = cluster();
    let producer = producer(&cluster.bootstrap_servers());
    let room = producer.room(1).await.unwrap();
    let outgoing = outgoing();
    let ticket = producer.send(TOPIC, Some(0), std::iter::once(outgoing.written()), (room, None)).unwrap();
    let began = Instant::now();
    drop(producer);
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    assert_eq!(ticket.answers().await, [Answer::Stored { partition: 0, offset: 0 }]);
}

#[tokio::test]
async fn closing_at_a_frozen_broker_ends_at_the_deadline() {
    let cluster = cluster();
    let producer = Arc::new(producer(&cluster.bootstrap_servers()));
    producer.store(TOPIC, Some(0), outgoing()).await.unwrap();
    cluster.broker_round_trip_time(1, Duration::from_secs(60)).unwrap();
    let storing = tokio::spawn({
        let producer = producer.clone();
        async move { producer.store(TOPIC, Some(0), outgoing()).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    assert_eq!(producer.close(Duration::from_millis(500)).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
    unknown(&storing.await.unwrap());
    assert_eq!(failed(&producer.store(TOPIC, None, outgoing()).await), ErrorKind::Closed);
    producer.close(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn closing_without_a_broker_leaves_to_its_time_what_was_not_sent() {
    let producer = Arc::new(producer("127.0.0.1:1"));
    let storing = tokio::spawn({
        let producer = producer.clone();
        async move { producer.store(TOPIC, None, outgoing()).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    producer.close(Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(failed(&storing.await.unwrap()), ErrorKind::Timeout);
}

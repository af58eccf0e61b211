//! Nodes that are away, frozen, or make a member wait.

use std::time::{Duration, Instant};

use integration_tests::kafka_server::{KafkaOptions, KafkaServer};
use zephcast_kafka::{Client, Consumer, Event, Events, KafkaConfig};

use super::told;

const STREAM: &str = "orders";

async fn member(server: &KafkaServer) -> (Client, Consumer, Events) {
    let config = KafkaConfig::from_url(&server.url()).expect("a URL").partitions(1);
    let client = config.connect().await.expect("connects");
    let consumer = client.consumer(STREAM).group("billing").start().await.expect("joins");
    let mut events = consumer.events();
    told(&mut events, |event| matches!(event, Event::Assigned(_)).then_some(())).await;
    (client, consumer, events)
}

async fn disconnected(events: &mut Events) -> String {
    let told = told(events, |event| if let Event::Disconnected(error) = event { Some(error) } else { None });
    told.await.to_string()
}

async fn reconnected(events: &mut Events) {
    told(events, |event| matches!(event, Event::Reconnected(_)).then_some(())).await;
}

#[tokio::test]
async fn an_idle_member_hears_soon_that_its_broker_froze_and_when_it_is_back() {
    let server = KafkaServer::start(KafkaOptions::default()).await.expect("Kafka starts");
    let (_client, _consumer, mut events) = member(&server).await;
    let began = Instant::now();
    server.stop(0).expect("frozen");
    disconnected(&mut events).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    server.cont(0).expect("goes on");
    reconnected(&mut events).await;
}

/// The others answer, and nothing ends: only what it owes tells.
#[tokio::test]
async fn one_of_three_that_froze_is_told_while_it_is_frozen() {
    let server = KafkaServer::start(KafkaOptions::default().nodes(3)).await.expect("Kafka starts");
    let config = KafkaConfig::from_url(&server.url()).expect("a URL").partitions(6);
    let client = config.connect().await.expect("connects");
    let consumer = client.consumer(STREAM).group("billing").start().await.expect("joins");
    let mut events = consumer.events();
    told(&mut events, |event| matches!(event, Event::Assigned(_)).then_some(())).await;
    let began = Instant::now();
    server.stop(1).expect("frozen");
    told(&mut events, |event| matches!(event, Event::NodeDown(_)).then_some(())).await;
    let took = began.elapsed();
    server.cont(1).expect("goes on");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_node_that_died_is_told_by_name_and_why_and_so_is_its_return() {
    let mut server = KafkaServer::start(KafkaOptions::default()).await.expect("Kafka starts");
    let (_client, _consumer, mut events) = member(&server).await;
    server.kill9(0).expect("dies");
    let reason = disconnected(&mut events).await;
    assert!(reason.contains("127.0.0.1"), "{reason}");
    let down = told(&mut events, |event| if let Event::NodeDown(node) = event { Some(node) } else { None }).await;
    server.restart(0).await.expect("starts");
    let up = told(&mut events, |event| if let Event::NodeUp(node) = event { Some(node) } else { None }).await;
    assert_eq!(down, up);
}

#[tokio::test]
async fn who_is_over_the_quota_hears_it() {
    let server = KafkaServer::start(KafkaOptions::default()).await.expect("Kafka starts");
    let quota = ["--alter", "--add-config", "consumer_byte_rate=20000", "--entity-type", "clients", "--entity-default"];

    server.tool("org.apache.kafka.tools.ConfigCommand", &quota).await.expect("a quota");
    let (client, mut consumer, mut events) = member(&server).await;
    let publisher = client.publisher(STREAM).await.expect("opens");
    for _ in 0..30 {
        publisher.publish(vec![0; 10_000]).await.expect("stored");
    }
    let reading = async {
        while let Some(delivery) = consumer.next().await {
            delivery.expect("a delivery").ack().expect("taken");
        }
    };
    let throttled = told(&mut events, |event| match event {
        Event::Throttled { delay, .. } => Some(delay),
        _ => None,
    });
    let delay = tokio::select! {
        delay = throttled => delay,
        () = reading => panic!("it ended"),
    };
    assert!(delay > Duration::ZERO);
}

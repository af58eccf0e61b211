//! A member that is closed while the broker is away.

use std::time::Duration;

use integration_tests::kafka_server::{KafkaOptions, KafkaServer};
use integration_tests::threads;
use tokio::time::timeout;
use zephcast_kafka::{KafkaConfig, Message};

use super::SOON;

const REQUEST: Duration = Duration::from_secs(2);
const LEASE: Duration = Duration::from_secs(6);

/// The last commit takes longer than whoever closes waits, and fails when nobody hears of it any more.
#[tokio::test]
async fn who_gives_up_closing_during_an_outage_leaves_nothing_behind_it() {
    let mut server = KafkaServer::start(KafkaOptions::default()).await.expect("Kafka starts");
    let config = KafkaConfig::from_url(&server.url()).expect("a URL").request_timeout(REQUEST).partitions(1);
    let client = config.connect().await.expect("the broker answers");
    // The beginning of a group's name is that of its members' threads.
    let group = format!("{:08x}", fastrand::u32(..));
    let publisher = client.publisher(&group).create(true).await.expect("opens");
    publisher.publish(Message::new("one")).await.expect("stored");
    let mut member = client.consumer(&group).group(&group).lease(LEASE).start().await.expect("a member");
    let delivery = timeout(SOON, member.next()).await.expect("in time").expect("no end").expect("a delivery");
    let thread = format!("zephcast {group}");
    assert!(threads::exists(&thread));

    server.kill9(0).expect("dies");
    delivery.ack().expect("taken");
    let report = member.close(Duration::from_millis(500)).await.expect("a report");
    assert!(!report.clean, "{report:?}");
    // The client library may wait for the answer to a commit for as long as the broker is away.
    server.restart(0).await.expect("starts");
    threads::ended(&thread, LEASE * 8).await;
}

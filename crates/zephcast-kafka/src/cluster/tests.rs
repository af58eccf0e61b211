//! What brokers answer that are not quite there, on the client library's own mock of a cluster.

use std::collections::BTreeMap;

use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Key, RDKafkaRespErr as Code};

use super::offsets::partitions_of;
use super::*;
use crate::native::{Committed, OffsetOf};

fn connected() -> (MockCluster<'static, DefaultProducerContext>, Cluster) {
    connected_to(1, Duration::from_secs(3))
}

/// The mock has no controller, whom a connection greets first.
fn connected_to(brokers: i32, request_timeout: Duration) -> (MockCluster<'static, DefaultProducerContext>, Cluster) {
    let mock = MockCluster::new(brokers).expect("a mock");
    let servers = mock.bootstrap_servers();
    let first = servers.split(',').next().expect("a broker");
    let (host, port) = first.rsplit_once(':').expect("host and port");
    let config = KafkaConfig::new(host, port.parse().expect("a port")).request_timeout(request_timeout);
    let cluster = Cluster::open(Arc::new(config)).expect("a client");
    (mock, cluster)
}

#[tokio::test]
async fn a_coordinator_that_is_not_yet_one_is_asked_again_and_ends_no_process() {
    let (mock, cluster) = connected();
    mock.create_topic("orders", 1, 1).unwrap();
    assert_eq!(cluster.committed("test", "billing").await.unwrap(), []);
    for (offset, code) in
        [(1, Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR), (2, Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS)]
    {
        let place = Committed { partition: ("orders".into(), 0), offset, metadata: "m".into() };
        mock.request_errors(Key::OffsetCommit, &[code]);
        cluster.commit("test", "billing", std::slice::from_ref(&place)).await.unwrap();
        mock.request_errors(Key::OffsetFetch, &[code, code]);
        cluster.committed("test", "billing").await.unwrap();
    }
    mock.request_errors(Key::OffsetFetch, &[Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED]);
    let error = cluster.committed("test", "billing").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
}

#[tokio::test]
async fn a_coordinator_that_is_found_after_everybody_gave_up_ends_no_process() {
    let (mock, cluster) = connected_to(2, Duration::from_millis(1_000));
    mock.coordinator(MockCoordinator::Group("billing".into()), 2).unwrap();
    mock.broker_down(2).unwrap();
    for _ in 0..3 {
        assert!(cluster.committed("test", "billing").await.unwrap_err().is_retryable());
    }
    tokio::time::timeout(Duration::from_millis(20), cluster.committed("test", "billing")).await.unwrap_err();
    mock.coordinator(MockCoordinator::Group("billing".into()), 1).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = cluster.committed("test", "billing").await {
        assert!(error.is_retryable() && Instant::now() < until, "{error:?}");
    }
    // Those that were given up are answered now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.committed("test", "billing").await.unwrap(), []);
}

#[tokio::test]
async fn a_client_that_waits_for_ever_is_replaced() {
    let (mock, cluster) = connected();
    let first = cluster.library("test").unwrap();
    first.overdue();
    let second = cluster.library("test").unwrap();
    assert!(!Arc::ptr_eq(&first, &second) && !second.is_overdue());
    assert!(Arc::ptr_eq(&second, &cluster.library("test").unwrap()));
    drop(first);
    assert_eq!(cluster.committed("test", "billing").await.unwrap(), []);
    drop(mock);
}

#[tokio::test]
async fn a_leader_that_does_not_answer_is_asked_again_and_never_guessed() {
    let (mock, cluster) = connected();
    mock.create_topic("orders", 2, 1).unwrap();
    let partitions: Vec<_> = partitions_of("orders", 2).collect();
    let expected: BTreeMap<_, _> = partitions.iter().map(|partition| (partition.clone(), 0)).collect();
    for code in [Code::RD_KAFKA_RESP_ERR__TRANSPORT, Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION] {
        mock.request_errors(Key::ListOffsets, &[code; 3]);
        assert_eq!(cluster.offsets("test", &partitions, OffsetOf::End).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_closed_cluster_ends_the_calls_that_wait() {
    let (mock, cluster) = connected();
    mock.broker_round_trip_time(1, Duration::from_secs(2)).unwrap();
    let cluster = Arc::new(cluster);
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.committed("test", "billing").await }
    });
    tokio::task::yield_now().await;
    cluster.close();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cluster.committed("test", "billing").await.unwrap_err().kind(), ErrorKind::Closed);
}

use std::time::Duration;

use zephcast_core::ErrorKind;

use crate::OutOfRange;
use crate::simulation::{Lab, STREAM};

/// It was added when the group had a place in the others already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_without_a_leader_holds_nobody_up() {
    let mut lab = Lab::begin(2, |cluster, config| {
        cluster.partition_leader(STREAM, 1, None).unwrap();
        config.request_timeout(Duration::from_secs(1))
    });
    let last = lab.publish(2).await;
    assert_eq!(lab.consume(last).await.len(), 2);
}

/// Where its beginning matters it is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_without_a_leader_ends_no_member() {
    let mut lab = Lab::begin(2, |cluster, config| {
        cluster.partition_leader(STREAM, 1, None).unwrap();
        config.request_timeout(Duration::from_secs(1)).out_of_range(OutOfRange::Latest)
    });
    assert_eq!(lab.fetch().await.unwrap_err().kind(), ErrorKind::Unavailable);
    lab.cluster.partition_leader(STREAM, 1, Some(1)).unwrap();
    let last = lab.publish(2).await;
    assert_eq!(lab.consume(last).await.len(), 2);
}

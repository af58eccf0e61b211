//! A handler that takes long while its member closes.

use std::time::Duration;

use rdkafka::topic_partition_list::Offset;
use tokio::time::sleep;

use crate::lab::{Lab, PATIENCE, next};

/// The shortest that brokers take by default.
const LEASE: Duration = Duration::from_secs(6);
/// Longer than the broker waits for a member that says nothing.
const WORK: Duration = Duration::from_secs(8);

/// A consumer sends heartbeats only while it is subscribed, and closing or unsubscribing ends that before it calls back for
/// what it has (`rd_kafka_cgrp_join_state_serve`, `rdkafka_cgrp.c`): who waits there for longer than a session is thrown
/// out, and its last commit is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_may_take_longer_than_a_session_while_its_member_closes() {
    let lab = Lab::new(1).await;
    lab.fill(0, 2).await;
    let mut first = lab.member().lease(LEASE).start().await.unwrap();
    let slow = next(&mut first).await;
    let mut second = lab.member().lease(LEASE).start().await.unwrap();
    let handled = async {
        sleep(WORK).await;
        slow.ack_confirmed().await
    };
    let (report, acked) = tokio::join!(first.close(PATIENCE), handled);
    acked.expect("it still is this member's");
    let report = report.unwrap();
    assert!(report.clean && report.acked == 1, "{report:?}");
    assert_eq!(lab.committed().await, [Offset::Offset(1)]);
    let other = next(&mut second).await;
    assert_eq!(other.payload_str().unwrap(), "1", "what the first handled came again");
    other.ack().unwrap();
    assert!(second.close(PATIENCE).await.unwrap().clean);
    assert_eq!(lab.committed().await, [Offset::Offset(2)]);
}

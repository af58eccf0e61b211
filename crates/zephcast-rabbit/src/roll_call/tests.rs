//! On a real server: a queue whose messages one consumer at a time is given.

use zephcast_core::driver::{Driver, Fetched};

use super::*;
use crate::lab::{Lab, NORMAL, PATIENCE, until};

const SINGLE: &str = "&single-active-consumer=true";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_turn_is_seen_and_does_not_answer_for_the_others() {
    let lab = Lab::start_with(SINGLE).await;
    let mut active = lab.join().await;
    let mut waiting = Vec::new();
    for name in ["b", "c"] {
        let mut subscription = Lab::subscription();
        subscription.member = name.parse().unwrap();
        waiting.push(lab.driver.join(subscription).await.unwrap());
    }
    lab.publish("s.g").await;
    until(&mut active, NORMAL, |fetched| matches!(fetched, Fetched::Batch(_))).await;
    let status = lab.status().await;
    assert_eq!((status.in_flight, status.lag, status.members.len()), (Some(1), Some(1), 3), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_holds_who_does_not_answer_is_not_taken_for_nothing() {
    let lab = Lab::start_with(SINGLE).await;
    let first = lab.join().await;
    let channel = lab.channel().await;
    let options = BasicConsumeOptions::default();
    let _other = channel.basic_consume("s.g".into(), "other".into(), options, FieldTable::default()).await.unwrap();
    // The other one's turn comes, then that of a member that waits for it.
    first.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    let _waiting = lab.join().await;
    lab.publish("s.g").await;
    lab.held_by_members(1).await;
}

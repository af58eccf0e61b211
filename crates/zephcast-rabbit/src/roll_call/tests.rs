//! On a real server: who consumes, and who answers.

use lapin::options::BasicCancelOptions;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_consumes_for_moments_only_is_not_missed() {
    let lab = Lab::start().await;
    let member = lab.join().await;
    lab.publish("s.g").await;
    lab.held_by_members(1).await;
    let channel = lab.channel().await;
    // As members do while they settle.
    let comes_and_goes = async {
        loop {
            let options = BasicConsumeOptions::default();
            let other =
                channel.basic_consume("s.g".into(), "other".into(), options, FieldTable::default()).await.unwrap();
            channel.basic_cancel(other.tag(), BasicCancelOptions::default()).await.unwrap();
        }
    };
    let looks = async {
        for look in 0..50 {
            let status = lab.status().await;
            let seen = (status.in_flight, status.members.len(), status.warnings.len());
            assert_eq!(seen, (Some(1), 1, 0), "at look {look}: {status:?}");
        }
    };
    tokio::select! {
        () = looks => {}
        () = comes_and_goes => unreachable!("it goes on for ever"),
    }
    member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stays_is_missed_though_others_come_and_go() {
    let lab = Lab::start().await;
    let member = lab.join().await;
    lab.publish("s.g").await;
    lab.held_by_members(1).await;
    let channel = lab.channel().await;
    let consume = |tag: &str| {
        channel.basic_consume("s.g".into(), tag.into(), BasicConsumeOptions::default(), FieldTable::default())
    };
    let _stays = consume("stays").await.unwrap();
    let comes_and_goes = async {
        loop {
            let other = consume("other").await.unwrap();
            channel.basic_cancel(other.tag(), BasicCancelOptions::default()).await.unwrap();
        }
    };
    let names = Names::new(lab.driver.brokers.control.config(), &"s".parse().unwrap(), &"g".parse().unwrap()).unwrap();
    let looks = async {
        for _ in 0..5 {
            let roll = Roll::call(&lab.driver.brokers, "look", &names).await.unwrap();
            assert!(!roll.is_complete && roll.unnamed() > 0);
            assert_eq!(roll.reports.len(), 1, "{:?}", roll.reports);
        }
    };
    tokio::select! {
        () = looks => {}
        () = comes_and_goes => unreachable!("it goes on for ever"),
    }
    member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
}

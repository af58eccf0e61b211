//! On a real server: somebody else makes the stream of a group anew.

use std::sync::Arc;

use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use zephcast_core::driver::Driver;

use super::*;
use crate::brokers::Brokers;
use crate::lab::Lab;

async fn delete_stream(channel: &Channel) {
    channel.exchange_delete("s".into(), ExchangeDeleteOptions::default()).await.unwrap();
}

async fn make_stream(channel: &Channel) {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare("s".into(), ExchangeKind::Topic, options, FieldTable::default()).await.unwrap();
}

async fn bind_by_a(channel: &Channel) {
    channel.queue_bind("s.g".into(), "s".into(), "a.#".into(), <_>::default(), FieldTable::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_stream_was_made_anew_is_bound_whatever_it_got_before() {
    for is_noticed in [false, true] {
        let lab = Lab::start().await;
        lab.driver.admin().create_stream(&Lab::bound_by_a()).await.unwrap();
        let (member, channel) = (lab.begin().await, lab.channel().await);
        let mut last = bind(&member, Bound::default()).await.unwrap();
        delete_stream(&channel).await;
        if is_noticed {
            last = bind(&member, last).await.unwrap();
            assert!(!last.has_stream);
        }
        make_stream(&channel).await;
        let looks = if is_noticed { 1 } else { 2 };
        for look in 1..=looks {
            last = bind(&member, last).await.unwrap();
            assert_eq!(lab.bound_by().await.is_empty(), look < looks);
        }
        assert_eq!(lab.bound_by().await, ["#"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_owner_binds_anew_is_left_so() {
    let lab = Lab::start().await;
    lab.driver.admin().create_stream(&Lab::bound_by_a()).await.unwrap();
    let (member, channel) = (lab.begin().await, lab.channel().await);
    // Looked at between an unbind and a bind.
    channel.queue_unbind("s.g".into(), "s".into(), "a.#".into(), FieldTable::default()).await.unwrap();
    let last = bind(&member, Bound::default()).await.unwrap();
    bind_by_a(&channel).await;
    let last = bind(&member, last).await.unwrap();
    assert_eq!(lab.bound_by().await, ["a.#"]);
    // Looked at while there is no stream.
    delete_stream(&channel).await;
    let last = bind(&member, last).await.unwrap();
    make_stream(&channel).await;
    bind_by_a(&channel).await;
    bind(&member, last).await.unwrap();
    assert_eq!(lab.bound_by().await, ["a.#"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_owner_binds_is_left_so_while_nobody_can_say_whether_there_is_anything() {
    let lab = Lab::start().await;
    lab.driver.admin().create_stream(&Lab::bound_by_a()).await.unwrap();
    let Brokers { control, publishing, mover, .. } = &*lab.driver.brokers;
    let brokers =
        Brokers { control: control.clone(), publishing: publishing.clone(), mover: mover.clone(), management: None };
    let mut subscription = Lab::subscription();
    subscription.create = false;
    let member = Member::begin(Arc::new(brokers), subscription).await.unwrap();
    // As when somebody could say it until now, and saw the group between an unbind and a bind.
    lab.channel().await.queue_unbind("s.g".into(), "s".into(), "#".into(), FieldTable::default()).await.unwrap();
    member.group().as_mut().unwrap().is_particular = true;
    let last = bind(&member, Bound { has_stream: true, is_bound: false }).await.unwrap();
    assert_eq!(lab.bound_by().await, ["a.#"]);
    assert!(!last.is_bound, "it is as it was");
}

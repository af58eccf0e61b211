//! On a real server: what a member says of what it never began.

use std::sync::Arc;

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::{BasicProperties, Channel, ConnectionProperties};
use zephcast_core::driver::{Credit, Driver, Fetched, Membership, Subscription};

use super::*;
use crate::{RabbitConfig, RabbitDriver};

const PATIENCE: Duration = Duration::from_secs(20);
const NORMAL: Credit = Credit { messages: 10, bytes: 1 << 20, suspect: false };

/// A group `g` of a stream `s`, and a program of somebody else.
struct Lab {
    server: RabbitServer,
    driver: Arc<RabbitDriver>,
    connection: lapin::Connection,
}

impl Lab {
    async fn start() -> Self {
        let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
        let driver = RabbitDriver::connect(RabbitConfig::from_url(&server.url()).unwrap()).await.unwrap();
        let url = format!("amqp://guest:guest@{}/%2f", server.addr());
        let connection = lapin::Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        Self { server, driver, connection }
    }

    async fn join(&self) -> Membership {
        self.driver.join(Subscription::new("s".parse().unwrap(), "g".parse().unwrap())).await.unwrap()
    }

    async fn channel(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }

    async fn publish(&self, queue: &str) {
        let properties = BasicProperties::default().with_message_id("one".into());
        let (options, channel) = (BasicPublishOptions::default(), self.channel().await);
        channel.basic_publish("".into(), queue.into(), options, b"x", properties).await.unwrap();
        // Answered when it is stored.
        channel.close(200, "".into()).await.unwrap();
    }

    async fn held_by_members(&self, count: u64) {
        let held = async {
            while self.driver.group_status(&"s".parse().unwrap(), &"g".parse().unwrap()).await.unwrap().in_flight
                != Some(count)
            {}
        };
        tokio::time::timeout(PATIENCE, held).await.expect("comes in time");
    }
}

async fn fetch(member: &mut Membership, credit: Credit) -> Fetched {
    tokio::time::timeout(PATIENCE, member.intake.fetch(credit)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_it_did_not_judge_a_member_says_nothing() {
    let lab = Lab::start().await;
    lab.join().await.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    lab.publish("s.g").await;
    let channel = lab.channel().await;
    let taken = async {
        loop {
            if let Some(taken) = channel.basic_get("s.g".into(), BasicGetOptions::default()).await.unwrap() {
                return taken;
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("is there");
    let passing = lab.join().await;
    // It dies of it.
    channel.close(200, "".into()).await.unwrap();
    lab.held_by_members(1).await;
    passing.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    let mut next = lab.join().await;
    loop {
        match fetch(&mut next, NORMAL).await {
            Fetched::Suspects => break,
            Fetched::Batch(batch) => panic!("handed out among others: {batch:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_that_it_did_not_judge_goes_back_with_the_attempts_that_it_had() {
    let lab = Lab::start().await;
    let mut member = lab.join().await;
    lab.publish("s.g.suspects").await;
    let suspect = Credit { suspect: true, ..NORMAL };
    while !matches!(fetch(&mut member, suspect).await, Fetched::Batch(_)) {}
    // It lives, and says so.
    lab.server.close_all_connections().await.unwrap();
    while !matches!(fetch(&mut member, NORMAL).await, Fetched::Lost(_)) {}
    while !matches!(fetch(&mut member, NORMAL).await, Fetched::Assigned(_)) {}
    member.settler.interrupt();
    while !matches!(fetch(&mut member, suspect).await, Fetched::Idle) {}
    member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    let url = format!("amqp://guest:guest@{}/%2f", lab.server.addr());
    let connection = lapin::Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let got = channel.basic_get("s.g.suspects".into(), BasicGetOptions::default()).await.unwrap().expect("is there");
    let headers = got.properties.headers().as_ref().expect("of a copy").inner();
    assert!(headers.contains_key("zephcast-copied-ms") && !headers.contains_key("zephcast-attempts"), "{headers:?}");
}

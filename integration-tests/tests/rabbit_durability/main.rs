//! What is said to be settled is settled, also when the server is killed in the same moment.

#![expect(clippy::print_stdout, reason = "what happened to how many is worth reading also when it is well")]

use std::time::Duration;

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use zephcast::{Client, Consumer, Delivery, Message};

const STREAM: &str = "durable";
const GROUP: &str = "all";
const TRIALS: u32 = 5;
const SUSPECTS: u32 = 6;
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_up_to_a_frontier_outlives_the_server() {
    trials(120, async |consumer, held| {
        let settled = held.into_iter().take(100).map(acked).collect();
        consumer.commit().await.expect("is settled");
        settled
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_above_a_stuck_head_outlives_the_server() {
    trials(200, async |consumer, held| {
        // Each second one is in nobody's frontier.
        let (settled, _stuck): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| number(held) % 2 == 1);
        let settled = settled.into_iter().map(acked).collect();
        consumer.commit().await.expect("is settled");
        settled
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_confirmed_ack_outlives_the_server() {
    trials(40, async |_, mut held| {
        let one = held.remove(7);
        let settled = vec![number(&one)];
        one.ack_confirmed().await.expect("is settled");
        settled
    })
    .await;
}

/// As [`trials`], of messages that are tried one by one since whoever had them may have died of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmed_ack_of_a_suspect_outlives_the_server() {
    let mut server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let client = zephcast::connect(&server.url()).await.expect("connects");
    let mut consumer = join(&client).await;
    server.write_down().await.expect("writes");
    let publisher = client.publisher(STREAM).await.expect("opens");
    for outcome in publisher.publish_all((0..SUSPECTS).map(|number| Message::new(number.to_string()))).await {
        outcome.expect("is stored");
    }
    let mut held = Vec::new();
    while held.len() < SUSPECTS as usize {
        held.push(next(&mut consumer, &server).await);
    }
    let mut settled = Vec::new();
    while settled.len() < SUSPECTS as usize {
        server.kill9().expect("kills");
        drop((consumer, std::mem::take(&mut held)));
        server.restart().await.expect("restarts");
        let fresh = zephcast::connect(&server.url()).await.expect("connects");
        consumer = join(&fresh).await;
        let suspect = next(&mut consumer, &server).await;
        let number = number(&suspect);
        assert!(!settled.contains(&number), "{number} was settled, and comes again after {settled:?}");
        suspect.ack_confirmed().await.expect("is settled");
        settled.push(number);
    }
    println!("settled one by one: {settled:?}");
}

/// Kills the server in the moment in which it is said to have a settlement: none of it comes again, and everything else
/// does.
async fn trials(messages: u32, settle: impl AsyncFn(&Consumer, Vec<Delivery>) -> Vec<u32>) {
    let mut server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let client = zephcast::connect(&server.url()).await.expect("connects");
    let mut consumer = join(&client).await;
    server.write_down().await.expect("writes");
    for trial in 0..TRIALS {
        let publisher = client.publisher(STREAM).await.expect("opens");
        let numbers = trial * 1_000..trial * 1_000 + messages;
        for outcome in publisher.publish_all(numbers.clone().map(|number| Message::new(number.to_string()))).await {
            outcome.expect("is stored");
        }
        let mut held = Vec::new();
        while held.len() < messages as usize {
            held.push(next(&mut consumer, &server).await);
        }
        let settled = settle(&consumer, held).await;
        server.kill9().expect("kills");
        // What is not settled is given back when it is dropped, which a server that is dead does not hear.
        drop(consumer);
        server.restart().await.expect("restarts");
        let fresh = zephcast::connect(&server.url()).await.expect("connects");
        consumer = join(&fresh).await;
        let mut left: Vec<u32> = numbers.filter(|number| !settled.contains(number)).collect();
        let count = left.len();
        while !left.is_empty() {
            let delivery = next(&mut consumer, &server).await;
            let number = number(&delivery);
            assert!(!settled.contains(&number), "trial {trial}: {number} was settled, and comes again");
            left.retain(|other| *other != number);
            delivery.ack().expect("is ours");
        }
        consumer.commit().await.expect("is settled");
        println!("trial {trial}: {} settled, {count} again", settled.len());
    }
}

async fn join(client: &Client) -> Consumer {
    client.consumer(STREAM).group(GROUP).prefetch(500).start().await.expect("joins")
}

async fn next(consumer: &mut Consumer, server: &RabbitServer) -> Delivery {
    let Ok(next) = tokio::time::timeout(PATIENCE, consumer.next()).await else {
        let columns = ["name", "messages_ready", "messages_unacknowledged", "consumers"];
        let queues = server.ctl(&[&["list_queues"], &columns[..]].concat()).await;
        panic!("nothing comes to a member with {:?}:\n{}", consumer.report(), queues.expect("a list"));
    };
    next.expect("no end").expect("no permanent error")
}

fn number(delivery: &Delivery) -> u32 {
    delivery.payload_str().expect("text").parse().expect("a number")
}

fn acked(delivery: Delivery) -> u32 {
    let number = number(&delivery);
    delivery.ack().expect("is ours");
    number
}

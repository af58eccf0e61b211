//! The server dies, stands still, restarts, and throws everybody out: members and publishers are back by themselves, and
//! what was held comes again.

use std::time::Duration;

use integration_tests::rabbit_server::RabbitServer;
use tokio::time::Instant;
use zephcast::{Client, Consumer, Delivery};

use super::lab::{self, LEASE};

const STREAM: &str = "outages";
const HELD: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_publishers_come_back_by_themselves() {
    let mut server = lab::private().await;
    let client = zephcast::connect(&format!("{}&heartbeat=2", server.url())).await.expect("connects");
    let mut consumer = lab::join(&client, STREAM, 100).await;
    server.write_down().await.expect("writes");
    let mut numbers = 0..;

    survives("close_all_connections", &client, &mut consumer, &mut numbers, async |_| {
        server.close_all_connections().await.expect("closes");
    })
    .await;
    survives("kill -9", &client, &mut consumer, &mut numbers, async |_| {
        server.kill9().expect("kills");
        server.restart().await.expect("restarts");
    })
    .await;
    survives("clean restart", &client, &mut consumer, &mut numbers, async |_| {
        server.restart().await.expect("restarts");
    })
    .await;
    freezes(&server, &client, &mut consumer, &mut numbers).await;
    times_out(&server, &client, &mut consumer, &mut numbers).await;
    lab::left(&server, STREAM, &[]).await;
}

/// What was held in an outage is lost to its member, comes again, and what is published after it arrives.
async fn survives(
    what: &str,
    client: &Client,
    consumer: &mut Consumer,
    numbers: &mut std::ops::RangeFrom<u32>,
    outage: impl AsyncFnOnce(&[Delivery]),
) {
    let first: Vec<u32> = numbers.take(HELD).collect();
    lab::publish(client, STREAM, first.iter().copied()).await;
    let held = lab::take(consumer, HELD).await;
    outage(&held).await;
    let begin = Instant::now();
    lab::lost(&held).await;
    lab::refuses(held).await;
    let more: Vec<u32> = numbers.take(HELD).collect();
    let publisher = client.publisher(STREAM).await.expect("opens");
    for number in &more {
        // One whose outcome nobody knows is published again.
        while let Err(error) = publisher.publish(number.to_string()).await {
            assert!(error.is_unknown() || error.kind() == zephcast::ErrorKind::Unavailable, "{error:?}");
        }
    }
    // What was refused is told once.
    let _ = consumer.commit().await;
    lab::all_come(consumer, first.into_iter().chain(more)).await;
    println!("{what}: everything came within {:?}", begin.elapsed());
}

/// A server that stands still is noticed within the lease.
async fn freezes(
    server: &RabbitServer,
    client: &Client,
    consumer: &mut Consumer,
    numbers: &mut std::ops::RangeFrom<u32>,
) {
    survives("freeze", client, consumer, numbers, async |held| {
        server.stop().expect("stops");
        let begin = Instant::now();
        lab::lost(held).await;
        let took = begin.elapsed();
        println!("noticed after {took:?}");
        assert!(took < LEASE + Duration::from_secs(2), "{took:?}");
        server.cont().expect("goes on");
    })
    .await;
}

/// Who keeps a message for longer than the server waits has it no longer.
async fn times_out(
    server: &RabbitServer,
    client: &Client,
    consumer: &mut Consumer,
    numbers: &mut std::ops::RangeFrom<u32>,
) {
    server.ctl(&["eval", "application:set_env(rabbit, channel_tick_interval, 500)."]).await.expect("sets");
    server.ctl(&["eval", "application:set_env(rabbit, consumer_timeout, 1500)."]).await.expect("sets");
    // Channels that are open keep what was set.
    survives("new channels", client, consumer, numbers, async |_| {
        server.close_all_connections().await.expect("closes");
    })
    .await;
    survives("consumer_timeout", client, consumer, numbers, async |_| ()).await;
}

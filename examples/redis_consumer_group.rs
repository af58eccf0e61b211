//! `cargo run -p zephcast-redis --example redis_consumer_group [URL]`
//!
//! Three consumers of one group share a Redis stream and each gets some of it, with the typed configuration of
//! `zephcast-redis` and no other broker in the build. Without a URL the one in `REDIS_URL` is used, else
//! `redis://localhost:6379`.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use zephcast_redis::{CloseReport, Consumer, Message, RedisConfig};

const CONSUMERS: usize = 3;
const MESSAGES: usize = 30;
/// Slow enough that whoever has waited longest gets the next one: that is how Redis shares a stream.
const PACE: Duration = Duration::from_millis(50);
const WITHIN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = match (std::env::args().nth(1), std::env::var_os("REDIS_URL")) {
        (Some(url), _) => RedisConfig::from_url(&url)?,
        (None, Some(_)) => RedisConfig::from_env()?,
        (None, None) => RedisConfig::new("localhost", RedisConfig::PORT),
    };
    let client = config.connect_timeout(Duration::from_secs(5)).connect().await?;
    let stream = format!("my-stream-{}", std::process::id());

    let (tell, mut received) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let mut consumers = Vec::new();
    for n in 0..CONSUMERS {
        let consumer = client.consumer(&stream).group("my-group").member(format!("consumer-{n}")).start().await?;
        consumers.push(tokio::spawn(consume(consumer, n, tell.clone(), stopped.clone())));
    }
    drop(tell);

    let publisher = client.publisher(&stream).await?;
    let mut by_consumer: BTreeMap<usize, usize> = BTreeMap::new();
    let mut by_message: BTreeMap<String, usize> = BTreeMap::new();
    tokio::time::timeout(WITHIN, async {
        let mut tick = tokio::time::interval(PACE);
        for n in 0..MESSAGES {
            tick.tick().await;
            publisher.publish(Message::new(format!("message {n}"))).await?;
        }
        while by_message.len() < MESSAGES {
            let (consumer, text) = received.recv().await.ok_or("the consumers ended early")?;
            println!("Consumer {consumer} received: {text}");
            *by_consumer.entry(consumer).or_default() += 1;
            *by_message.entry(text).or_default() += 1;
        }
        Ok::<_, Box<dyn Error>>(())
    })
    .await??;

    stop.send_replace(true);
    for consumer in consumers {
        let report = consumer.await??;
        assert!(report.clean, "{report:?}");
    }
    // Whatever came twice came before they left.
    while let Some((consumer, text)) = received.recv().await {
        *by_consumer.entry(consumer).or_default() += 1;
        *by_message.entry(text).or_default() += 1;
    }
    client.admin().delete_stream(&stream.parse()?).await?;
    client.close(WITHIN).await?;
    println!("messages by consumer: {by_consumer:?}");
    assert!(by_message.values().all(|times| *times == 1), "each message was delivered to one consumer, once");
    assert!(by_consumer.keys().copied().eq(0..CONSUMERS), "every consumer had a share");
    Ok(())
}

/// One consumer of the group, until told to stop.
async fn consume(
    mut consumer: Consumer,
    n: usize,
    received: mpsc::UnboundedSender<(usize, String)>,
    mut stopped: watch::Receiver<bool>,
) -> zephcast_redis::Result<CloseReport> {
    loop {
        let delivery = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { break };
        let delivery = delivery?;
        let text = delivery.payload_str()?.to_owned();
        delivery.ack()?;
        // Whoever counts is there as long as the consumers are.
        let _ = received.send((n, text));
    }
    consumer.close(WITHIN).await
}

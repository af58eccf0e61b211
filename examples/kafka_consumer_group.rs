//! `cargo run -p zephcast-kafka --example kafka_consumer_group [URL]`
//!
//! Three consumers of one group share the partitions of a Kafka topic, with the typed configuration of `zephcast-kafka`
//! and no other broker in the build. Without a URL the environment is read (`KAFKA_URL`, or `KAFKA_BOOTSTRAP_SERVERS` and
//! its companions), and without that it is `kafka://localhost:9092`.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use zephcast_kafka::{CloseReport, Consumer, Event, KafkaConfig, Message, StreamSpec, UnitId};

const CONSUMERS: usize = 3;
const PARTITIONS: u32 = 6;
const MESSAGES: usize = 30;
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let is_set = |name| std::env::var_os(name).is_some();
    let config = match std::env::args().nth(1) {
        Some(url) => KafkaConfig::from_url(&url)?,
        None if is_set("KAFKA_URL") || is_set("KAFKA_BOOTSTRAP_SERVERS") => KafkaConfig::from_env()?,
        None => KafkaConfig::new("localhost", KafkaConfig::PORT),
    };
    let client = config.connect_timeout(Duration::from_secs(5)).connect().await?;
    let topic = format!("my-topic-{}", std::process::id());
    let mut spec = StreamSpec::new(topic.parse()?);
    spec.partitions = Some(PARTITIONS);
    client.admin().create_stream(&spec).await?;

    let (tell, mut told) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let mut consumers = Vec::new();
    for n in 0..CONSUMERS {
        let consumer = client.consumer(&topic).group("my-group").member(format!("consumer-{n}")).start().await?;
        consumers.push(tokio::spawn(consume(consumer, n, tell.clone(), stopped.clone())));
    }
    drop(tell);

    let publisher = client.publisher(&topic).await?;
    let mut received = Received::default();
    tokio::time::timeout(WITHIN, async {
        // Until every consumer has a share of the partitions.
        while !received.everyone_has_partitions() {
            received.add(told.recv().await.ok_or("the consumers ended early")?);
        }
        for n in 0..MESSAGES {
            publisher.publish(Message::new(format!("message {n}")).with_key(format!("customer-{n}"))).await?;
        }
        while received.by_message.len() < MESSAGES {
            received.add(told.recv().await.ok_or("the consumers ended early")?);
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
    while let Some(news) = told.recv().await {
        received.add(news);
    }
    client.admin().delete_stream(&spec.stream).await?;
    client.close(WITHIN).await?;
    println!("messages by consumer: {:?}", received.by_consumer);
    assert!(received.by_message.values().all(|times| *times == 1), "each message was delivered to one consumer, once");
    assert!(received.by_consumer.len() > 1, "the consumers shared the work");
    Ok(())
}

/// What a consumer has to tell.
enum News {
    Partitions { consumer: usize, gained: Vec<UnitId>, gone: Vec<UnitId> },
    Message { consumer: usize, text: String },
}

#[derive(Default)]
struct Received {
    partitions: BTreeMap<usize, BTreeSet<UnitId>>,
    by_consumer: BTreeMap<usize, usize>,
    by_message: BTreeMap<String, usize>,
}

impl Received {
    fn add(&mut self, news: News) {
        match news {
            News::Partitions { consumer, gained, gone } => {
                let has = self.partitions.entry(consumer).or_default();
                // Beyond those of the topic are those of the messages that wait to be tried again.
                has.extend(gained.into_iter().filter(|partition| partition.0 < PARTITIONS));
                has.retain(|partition| !gone.contains(partition));
                println!("Consumer {consumer} has partitions {has:?}");
            }
            News::Message { consumer, text } => {
                println!("Consumer {consumer} received: {text}");
                *self.by_consumer.entry(consumer).or_default() += 1;
                *self.by_message.entry(text).or_default() += 1;
            }
        }
    }

    fn everyone_has_partitions(&self) -> bool {
        let shares = self.partitions.values().filter(|partitions| !partitions.is_empty());
        shares.count() == CONSUMERS
    }
}

/// One consumer of the group, until told to stop.
async fn consume(
    mut consumer: Consumer,
    n: usize,
    tell: mpsc::UnboundedSender<News>,
    mut stopped: watch::Receiver<bool>,
) -> zephcast_kafka::Result<CloseReport> {
    let mut events = consumer.events();
    loop {
        let news = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            Some(event) = events.next() => match event {
                Event::Assigned(gained) => News::Partitions { consumer: n, gained, gone: Vec::new() },
                Event::Revoked(gone) | Event::Lost(gone) => News::Partitions { consumer: n, gained: Vec::new(), gone },
                _ => continue,
            },
            delivery = consumer.next() => {
                let Some(delivery) = delivery else { break };
                let delivery = delivery?;
                let text = delivery.payload_str()?.to_owned();
                delivery.ack()?;
                News::Message { consumer: n, text }
            }
        };
        // Whoever counts is there as long as the consumers are.
        let _ = tell.send(news);
    }
    consumer.close(WITHIN).await
}

//! `cargo run --example consumer_group [URL]`
//!
//! Three members of a group share a stream of ten messages a second. After three seconds one leaves and another joins.
//! Each message reaches exactly one member, through the change too, and every member has its share. Without a URL the
//! embedded broker is used.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Interval, interval, timeout};
use zephcast::driver::StreamSpec;
use zephcast::{Client, Message, Publisher, connect};

const RATE: u32 = 10;
const SECONDS: u32 = 6;
const PARTITIONS: u32 = 12;
/// Who is there for some of the time.
const MEMBERS: [&str; 4] = ["member-1", "member-2", "member-3", "member-4"];
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// How long the last messages may take.
const ARRIVE_WITHIN: Duration = Duration::from_secs(10);

/// Which member handled which message.
type Handled = (String, String);

/// A running member: it leaves when the sender is used or dropped.
struct Member {
    leave: oneshot::Sender<()>,
    task: JoinHandle<zephcast::Result<()>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".into());
    let client = connect(&url).await?;
    // A name of its own for each run, so that a second run finds nothing of the first.
    let stream = format!("consumer-group-{}", std::process::id());

    create(&client, &stream).await?;
    let (handled, mut history) = mpsc::unbounded_channel();
    let mut members = Vec::new();
    for name in &MEMBERS[..3] {
        members.push(join(&client, &stream, name, handled.clone()).await?);
    }

    let publisher = client.publisher(&stream).await?;
    let mut tick = interval(Duration::from_secs(1) / RATE);
    let began = Instant::now();
    publish(&publisher, &mut tick, 0..RATE * SECONDS / 2).await?;
    println!("-- {} leaves, {} joins", MEMBERS[0], MEMBERS[3]);
    members.remove(0).leave().await?;
    members.push(join(&client, &stream, MEMBERS[3], handled).await?);
    publish(&publisher, &mut tick, RATE * SECONDS / 2..RATE * SECONDS).await?;

    // Every message is awaited; leaving then proves that none comes twice, and says why if a member ended early.
    let mut all: Vec<Handled> = Vec::new();
    let arrived = timeout(ARRIVE_WITHIN, async {
        while all.len() < (RATE * SECONDS) as usize {
            let Some(handled) = history.recv().await else { break };
            all.push(handled);
        }
    });
    let arrived = arrived.await;
    let seconds = began.elapsed().as_secs_f64();
    for member in members {
        member.leave().await?;
    }
    arrived.map_err(|_| format!("of {} messages {} came in {ARRIVE_WITHIN:?}", RATE * SECONDS, all.len()))?;
    while let Some(extra) = history.recv().await {
        all.push(extra);
    }
    client.admin().delete_stream(&stream.parse()?).await?;
    client.close(LEAVE_WITHIN).await?;
    summarize(&all, seconds)
}

/// Where members own units, as on Kafka, only as many members work as there are units.
async fn create(client: &Client, stream: &str) -> Result<(), Box<dyn Error>> {
    let mut spec = StreamSpec::new(stream.parse()?);
    let capabilities = client.capabilities();
    spec.partitions = (capabilities.assigns_units && capabilities.partitions).then_some(PARTITIONS);
    client.admin().create_stream(&spec).await?;
    Ok(())
}

/// Publishes messages of these numbers, one at each tick.
async fn publish(
    publisher: &Publisher,
    tick: &mut Interval,
    numbers: Range<u32>,
) -> Result<(), zephcast::PublishError> {
    for n in numbers {
        tick.tick().await;
        publisher.publish(Message::new(format!("message {n}")).with_key(format!("customer-{}", n % 12))).await?;
    }
    Ok(())
}

/// Joins the group and handles messages until told to leave.
async fn join(
    client: &Client,
    stream: &str,
    name: &str,
    handled: mpsc::UnboundedSender<Handled>,
) -> zephcast::Result<Member> {
    let mut consumer = client.consumer(stream).group("billing").member(name).start().await?;
    let (leave, mut left) = oneshot::channel();
    let name = name.to_owned();
    let task = tokio::spawn(async move {
        loop {
            let delivery = tokio::select! {
                _ = &mut left => break,
                delivery = consumer.next() => delivery,
            };
            let Some(delivery) = delivery else { break };
            let delivery = delivery?;
            let text = delivery.payload_str()?.to_owned();
            println!("{name} got {text} at {}", delivery.position());
            delivery.ack()?;
            // Whoever counts is there as long as the members are.
            let _ = handled.send((name.clone(), text));
        }
        let report = consumer.close(LEAVE_WITHIN).await?;
        println!("{name} left: {} delivered, {} acked, clean: {}", report.delivered, report.acked, report.clean);
        Ok(())
    });
    Ok(Member { leave, task })
}

impl Member {
    async fn leave(self) -> Result<(), Box<dyn Error>> {
        // A member that ended by itself says why.
        let _ = self.leave.send(());
        Ok(self.task.await??)
    }
}

/// Prints who got how much, and fails unless each message came exactly once and every member got some.
fn summarize(all: &[Handled], seconds: f64) -> Result<(), Box<dyn Error>> {
    let mut by_member: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_message: BTreeMap<&str, usize> = BTreeMap::new();
    for (member, message) in all {
        *by_member.entry(member).or_default() += 1;
        *by_message.entry(message).or_default() += 1;
    }
    for (member, count) in &by_member {
        println!("{member}: {count} messages, {:.1} a second", *count as f64 / seconds);
    }
    println!("total: {} messages, {:.1} a second", all.len(), all.len() as f64 / seconds);
    assert_eq!(by_message.len(), (RATE * SECONDS) as usize, "every message came");
    assert!(by_message.values().all(|count| *count == 1), "no message came twice");
    assert!(by_member.keys().eq(&MEMBERS), "every member had a share: {by_member:?}");
    println!("each message reached exactly one member, and every member got some");
    Ok(())
}

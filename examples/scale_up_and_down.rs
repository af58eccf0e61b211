//! `cargo run --example scale_up_and_down [URL]`
//!
//! A stream gets more than one member can handle. Members are added one at a time until the group keeps up, and taken
//! away again, all under load. Each phase shows its throughput; in the end each message was handled exactly once.
//! Without a URL the embedded broker is used.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use zephcast::driver::StreamSpec;
use zephcast::{Client, CloseReport, Event, Message, Publisher, connect};

/// Messages a second; a member manages at most one each `WORK`.
const RATE: u32 = 250;
const WORK: Duration = Duration::from_millis(10);
const PHASE: Duration = Duration::from_millis(1_500);
const PARTITIONS: u32 = 12;
/// How many members there are in each phase.
const PHASES: [usize; 4] = [1, 2, 4, 2];
const WITHIN: Duration = Duration::from_secs(20);

/// A running member: it leaves when the sender is used or dropped.
struct Member {
    leave: oneshot::Sender<()>,
    task: JoinHandle<zephcast::Result<CloseReport>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".into());
    let client = connect(&url).await?;
    let stream = format!("scale-up-and-down-{}", std::process::id());
    create(&client, &stream).await?;
    let publisher = client.publisher(&stream).await?;

    let (tell, mut handled) = mpsc::unbounded_channel();
    let mut members = vec![join(&client, &stream, tell.clone()).await?];
    let published = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = oneshot::channel();
    let load = tokio::spawn(publish(publisher, published.clone(), stopped));

    let mut history: Vec<u64> = Vec::new();
    let mut rates = Vec::new();
    let mut joined = 1;
    for count in PHASES {
        while members.len() < count {
            members.push(join(&client, &stream, tell.clone()).await?);
            joined += 1;
        }
        while members.len() > count {
            // It finishes what it has, gives back the rest, and only then is gone.
            members.remove(0).leave().await?;
        }
        // What was done while members came and went is of no phase.
        while let Ok(number) = handled.try_recv() {
            history.push(number);
        }
        let (began, before) = (Instant::now(), history.len());
        let _ = tokio::time::timeout(PHASE, async {
            while let Some(number) = handled.recv().await {
                history.push(number);
            }
        })
        .await;
        let rate = (history.len() - before) as f64 / began.elapsed().as_secs_f64();
        let behind = published.load(Ordering::Relaxed).saturating_sub(history.len() as u64);
        println!("members {count}: {rate:.0} messages a second, {behind} behind");
        rates.push(rate);
    }

    drop(stop);
    load.await??;
    let total = published.load(Ordering::Relaxed);
    println!("-- no more load, {} of {total} handled; the rest is caught up", history.len());
    tokio::time::timeout(WITHIN, async {
        while (history.len() as u64) < total {
            history.push(handled.recv().await.ok_or("the members ended early")?);
        }
        Ok::<_, Box<dyn Error>>(())
    })
    .await??;
    // Whatever came twice would come while they leave.
    drop(tell);
    for member in members {
        member.leave().await?;
    }
    while let Some(extra) = handled.recv().await {
        history.push(extra);
    }
    client.admin().delete_stream(&stream.parse()?).await?;
    client.close(WITHIN).await?;

    let mut by_message: BTreeMap<u64, u32> = BTreeMap::new();
    for number in history {
        *by_message.entry(number).or_default() += 1;
    }
    assert_eq!(by_message.len() as u64, total, "nothing was lost");
    assert!(by_message.values().all(|times| *times == 1), "nothing was handled twice");
    assert!(rates[2] > rates[0] * 1.5, "four members do more than one: {rates:.0?}");
    println!("{total} messages, {joined} members over time: each message was handled exactly once");
    Ok(())
}

/// Where members own units, as on Kafka, only as many members work as there are units.
async fn create(client: &Client, stream: &str) -> Result<(), Box<dyn Error>> {
    let mut spec = StreamSpec::new(stream.parse()?);
    let capabilities = client.capabilities();
    spec.partitions = (capabilities.assigns_units && capabilities.partitions).then_some(PARTITIONS);
    client.admin().create_stream(&spec).await?;
    Ok(())
}

/// Publishes numbered messages at a steady rate until told to stop.
async fn publish(
    publisher: Publisher,
    published: Arc<AtomicU64>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(), zephcast::PublishError> {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
    loop {
        tokio::select! {
            _ = &mut stopped => return Ok(()),
            _ = tick.tick() => {}
        }
        let number = published.load(Ordering::Relaxed);
        publisher.publish(Message::new(number.to_string()).with_key(format!("key-{}", number % 50))).await?;
        published.store(number + 1, Ordering::Relaxed);
    }
}

/// Joins the group and handles messages until told to leave. It has a share when this returns.
async fn join(client: &Client, stream: &str, handled: mpsc::UnboundedSender<u64>) -> Result<Member, Box<dyn Error>> {
    // A small prefetch, so that whoever joins finds something to do.
    let mut consumer = client.consumer(stream).group("workers").prefetch(8).start().await?;
    let (leave, mut left) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let task = tokio::spawn(async move {
        let (mut events, mut ready) = (consumer.events(), Some(ready));
        loop {
            let delivery = tokio::select! {
                biased;
                _ = &mut left => break,
                Some(event) = events.next() => {
                    if matches!(&event, Event::Assigned(units) if !units.is_empty())
                        && let Some(ready) = ready.take()
                    {
                        // Whoever waits may have given up.
                        let _ = ready.send(());
                    }
                    continue;
                }
                delivery = consumer.next() => delivery,
            };
            let Some(delivery) = delivery else { break };
            let delivery = delivery?;
            tokio::time::sleep(WORK).await;
            let number = delivery.payload_str()?.parse().unwrap_or(u64::MAX);
            delivery.ack()?;
            // Whoever counts is there as long as the members are.
            let _ = handled.send(number);
        }
        consumer.close(WITHIN).await
    });
    tokio::time::timeout(WITHIN, is_ready).await?.map_err(|_| "the member ended early")?;
    Ok(Member { leave, task })
}

impl Member {
    async fn leave(self) -> Result<(), Box<dyn Error>> {
        // A member that ended by itself says why.
        let _ = self.leave.send(());
        let report = self.task.await??;
        println!("a member left in {:.0?}: {} acked, {} given back", report.duration, report.acked, report.returned);
        assert!(report.clean, "{report:?}");
        Ok(())
    }
}

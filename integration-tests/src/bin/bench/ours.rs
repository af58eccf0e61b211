//! The work of every case by this library, with default settings, on any broker.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use zephcast::{Client, Consumer, Delivery, Message, PendingReceipt, Publisher};

use crate::latency::{self, Ages, Schedule};
use crate::measure::{Sample, Stopwatch};
use crate::{Outcome, PAYLOAD_BYTES};

pub(crate) const GROUP: &str = "ours";
const CLOSING: Duration = Duration::from_secs(10);
/// Receipts that wait before the oldest is looked at; more than are in flight.
const RECEIPTS: usize = 2_000;

/// Publishes with a connection that is made before the clock starts.
pub(crate) async fn publish(client: Client, stream: String, messages: usize) -> Outcome<Sample> {
    let publisher = client.publisher(&stream).await?;
    let watch = Stopwatch::start();
    fill(&publisher, messages).await?;
    Ok(watch.stop(messages))
}

/// Publishes, pipelined, and looks at every receipt.
pub(crate) async fn fill(publisher: &Publisher, messages: usize) -> Outcome<()> {
    fill_with(publisher, messages, RECEIPTS).await
}

/// The same while so many receipts wait.
pub(crate) async fn fill_with(publisher: &Publisher, messages: usize, waiting: usize) -> Outcome<()> {
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let mut receipts: VecDeque<PendingReceipt> = VecDeque::with_capacity(waiting);
    for _ in 0..messages {
        if receipts.len() == waiting
            && let Some(oldest) = receipts.pop_front()
        {
            oldest.await?;
        }
        receipts.push_back(publisher.enqueue(Message::new(payload.clone())).await?);
    }
    for receipt in receipts {
        receipt.await?;
    }
    Ok(())
}

/// Consumes a filled stream by calls.
pub(crate) async fn consume(client: Client, stream: String, messages: usize) -> Outcome<Sample> {
    let watch = Stopwatch::start();
    let consumer = consume_all(&client, &stream, messages).await?;
    let sample = watch.stop(messages);
    consumer.close(CLOSING).await?;
    Ok(sample)
}

/// A call and an ack a message; at the end every ack is durable.
pub(crate) async fn consume_all(client: &Client, stream: &str, messages: usize) -> Outcome<Consumer> {
    let mut consumer = client.consumer(stream).group(GROUP).start().await?;
    for _ in 0..messages {
        let delivery = next(&mut consumer).await?;
        black_box(delivery.payload());
        delivery.ack()?;
    }
    consumer.commit().await?;
    Ok(consumer)
}

/// Consumes a filled stream by a handler.
pub(crate) async fn handle(client: Client, stream: String, messages: usize) -> Outcome<Sample> {
    let watch = Stopwatch::start();
    handle_all(&client, &stream, messages).await?;
    Ok(watch.stop(messages))
}

/// A call of a group's handler a message; at the end the group has left.
pub(crate) async fn handle_all(client: &Client, stream: &str, messages: usize) -> Outcome<()> {
    let (handled, all) = (AtomicUsize::new(0), Notify::new());
    let handler = async |delivery: &Delivery| {
        black_box(delivery.payload());
        if handled.fetch_add(1, Ordering::Relaxed) + 1 == messages {
            all.notify_one();
        }
        Ok::<_, zephcast::Error>(())
    };
    let report = client.group(stream, GROUP).run(handler, all.notified()).await?;
    if !report.clean {
        return Err(format!("the group did not leave in good order: {report:?}").into());
    }
    Ok(())
}

/// Publishes at a steady rate and consumes meanwhile.
pub(crate) async fn latency(client: Client, stream: String) -> Outcome<Sample> {
    let publisher = client.publisher(&stream).await?;
    let mut consumer = client.consumer(&stream).group(GROUP).start().await?;
    let watch = Stopwatch::start();
    let schedule = Schedule::begin();
    let handling: JoinHandle<Outcome<Ages>> = tokio::spawn(async move {
        let mut ages = Ages::new(schedule)?;
        while !ages.is_complete() {
            let delivery = next(&mut consumer).await?;
            ages.handled(delivery.payload());
            delivery.ack()?;
        }
        consumer.close(CLOSING).await?;
        Ok(ages)
    });
    let mut receipts = Vec::with_capacity(latency::MESSAGES);
    let sent = schedule.send(async |payload| {
        receipts.push(publisher.enqueue(Message::new(payload)).await?);
        Ok(())
    });
    sent.await?;
    for receipt in receipts {
        receipt.await?;
    }
    let ages = handling.await??;
    Ok(ages.into_sample(watch.stop(latency::MESSAGES)))
}

/// The next delivery of a consumer that must not end.
pub(crate) async fn next(consumer: &mut Consumer) -> Outcome<Delivery> {
    Ok(consumer.next().await.ok_or("the consumer ended")??)
}

//! The work of this library where joining takes a good while, and raw has to do it too: as elsewhere, but for clocks that
//! start once a member has its first message.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use zephcast::{Client, Consumer, Delivery, Message};

use crate::latency::{self, Ages, Schedule};
use crate::measure::{Sample, Stopwatch};
use crate::ours::{fill_with, next};
use crate::{Outcome, PAYLOAD_BYTES};

pub(crate) const CLOSING: Duration = Duration::from_secs(10);
/// Messages before a schedule begins.
pub(crate) const WARM_UP: usize = 100;
/// Room for as many messages as may be in flight, so that these are the bound.
const IN_FLIGHT_BYTES: u32 = 256 << 20;

/// Publishes with a producer that is at work, and so many messages in flight at most.
pub(crate) async fn publish(client: Client, topic: String, messages: usize, in_flight: usize) -> Outcome<Sample> {
    let bound = u32::try_from(in_flight)?;
    let publisher = client.publisher(&topic).in_flight(bound).in_flight_bytes(IN_FLIGHT_BYTES).await?;
    publisher.publish(Message::new(vec![b'x'; PAYLOAD_BYTES])).await?;
    let watch = Stopwatch::start();
    fill_with(&publisher, messages, 2 * in_flight).await?;
    Ok(watch.stop(messages))
}

/// A call and an ack a message; the clock starts with the first, and at the end every ack is durable.
pub(crate) async fn consume(client: Client, topic: String, group: String, messages: usize) -> Outcome<Sample> {
    let mut consumer = client.consumer(&topic).group(&group).start().await?;
    let mut watch = None;
    for _ in 0..messages {
        let delivery = next(&mut consumer).await?;
        watch.get_or_insert_with(Stopwatch::start);
        black_box(delivery.payload());
        delivery.ack()?;
    }
    consumer.commit().await?;
    let sample = watch.ok_or("nothing came")?.stop(messages);
    consumer.close(CLOSING).await?;
    Ok(sample)
}

/// A call of a group's handler a message; the clock stops with the last.
pub(crate) async fn handle(client: Client, topic: String, group: String, messages: usize) -> Outcome<Sample> {
    let (handled, all) = (AtomicUsize::new(0), Notify::new());
    let (watch, sample) = (Mutex::new(None), Mutex::new(None));
    let handler = async |delivery: &Delivery| {
        let before = handled.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            *watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stopwatch::start());
        }
        black_box(delivery.payload());
        if before + 1 == messages {
            let watch = watch.lock().unwrap_or_else(PoisonError::into_inner).take();
            *sample.lock().unwrap_or_else(PoisonError::into_inner) = watch.map(|watch| watch.stop(messages));
            all.notify_one();
        }
        Ok::<_, zephcast::Error>(())
    };
    let report = client.group(&topic, &group).run(handler, all.notified()).await?;
    if !report.clean {
        return Err(format!("the group did not leave in good order: {report:?}").into());
    }
    Ok(sample.into_inner().unwrap_or_else(PoisonError::into_inner).ok_or("the last message was not handled")?)
}

/// Publishes at a steady rate and consumes meanwhile, once both are at work.
pub(crate) async fn latency(client: Client, topic: String, group: String) -> Outcome<Sample> {
    let publisher = client.publisher(&topic).await?;
    let mut consumer = client.consumer(&topic).group(&group).start().await?;
    for _ in 0..WARM_UP {
        publisher.publish(Message::new(vec![b'w'; PAYLOAD_BYTES])).await?;
    }
    for _ in 0..WARM_UP {
        next(&mut consumer).await?.ack()?;
    }
    let watch = Stopwatch::start();
    let schedule = Schedule::begin();
    let handling: JoinHandle<Outcome<(Ages, Consumer)>> = tokio::spawn(async move {
        let mut ages = Ages::new(schedule)?;
        while !ages.is_complete() {
            let delivery = next(&mut consumer).await?;
            ages.handled(delivery.payload());
            delivery.ack()?;
        }
        consumer.commit().await?;
        Ok((ages, consumer))
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
    let (ages, consumer) = handling.await??;
    let sample = watch.stop(latency::MESSAGES);
    consumer.close(CLOSING).await?;
    Ok(ages.into_sample(sample))
}

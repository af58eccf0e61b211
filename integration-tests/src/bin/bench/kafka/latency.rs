//! The raw client publishes at a steady rate and consumes meanwhile, once both are at work.

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::frontier::Frontier;
use super::raw_publish::with_id;
use super::reports::Reports;
use super::settings::{Protocol, consuming, producing};
use super::{PATIENCE, SLICE, WARM_UP};
use crate::latency::{self, Ages, Schedule};
use crate::measure::{Sample, Stopwatch};
use crate::{Outcome, PAYLOAD_BYTES};

pub(super) async fn raw(server: String, topic: String, group: String) -> Outcome<Sample> {
    let reports = Reports::new();
    let producer: ThreadedProducer<Reports> = producing(&server).create_with_context(reports.clone())?;
    let (ready, at_work) = oneshot::channel();
    let (begin, began) = oneshot::channel();
    let consuming = spawn_blocking({
        let topic = topic.clone();
        move || consume(&server, &topic, &group, ready, began)
    });
    let publish = async |payload: Bytes| -> Outcome<()> {
        let record = with_id(BaseRecord::to(&topic).payload(&payload[..]), "0123456789abcdef-1");
        Ok(producer.send(record).map_err(|(error, _)| error)?)
    };
    for _ in 0..WARM_UP {
        publish(vec![b'w'; PAYLOAD_BYTES].into()).await?;
    }
    at_work.await?;
    let watch = Stopwatch::start();
    let schedule = Schedule::begin();
    begin.send(schedule).map_err(|_| "nobody consumes")?;
    schedule.send(publish).await?;
    let (ages, consumer) = consuming.await??;
    let sample = watch.stop(latency::MESSAGES);
    let end = move || {
        drop(consumer);
        producer.flush(PATIENCE)
    };
    spawn_blocking(end).await??;
    reports.check()?;
    Ok(ages.into_sample(sample))
}

/// Record by record, since there is nothing to gather at such a rate.
fn consume(
    server: &str,
    topic: &str,
    group: &str,
    ready: oneshot::Sender<()>,
    began: oneshot::Receiver<Schedule>,
) -> Outcome<(Ages, BaseConsumer)> {
    let consumer: BaseConsumer = consuming(server, group, Protocol::Classic).create()?;
    consumer.subscribe(&[topic])?;
    let mut warm = 0;
    while warm < WARM_UP {
        warm += usize::from(consumer.poll(SLICE).transpose()?.is_some());
    }
    let _ = ready.send(());
    let mut ages = Ages::new(began.blocking_recv()?)?;
    let mut frontier = Frontier::new(topic);
    while !ages.is_complete() {
        if let Some(message) = consumer.poll(SLICE).transpose()? {
            ages.handled(message.payload().unwrap_or_default());
            frontier.handled(message.partition(), message.offset());
            frontier.commit_sometimes(&consumer)?;
        }
    }
    frontier.commit(&consumer, CommitMode::Sync)?;
    Ok((ages, consumer))
}

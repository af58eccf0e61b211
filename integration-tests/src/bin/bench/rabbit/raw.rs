//! The raw client, used at its best: no wait for a single confirm, acks gathered by hand.

use std::collections::VecDeque;
use std::hint::black_box;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::{join_all, poll_immediate};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tokio::task::JoinHandle;

use super::IN_FLIGHT;
use crate::joined::WARM_UP;
use crate::latency::{self, Ages, Schedule};
use crate::measure::{Sample, Stopwatch};
use crate::ours::GROUP;
use crate::{Outcome, PAYLOAD_BYTES};

const PREFETCH: u16 = 1_000;
/// Messages of one ack.
const ACKED: u64 = 50;
const PERSISTENT: u8 = 2;

/// How to publish many messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// A future a message, polled once and then awaited in order.
    Polled,
    /// A future a message, awaited in any order.
    Unordered,
    /// Each written before the next, confirms awaited in order.
    Written,
    /// So many together, and then the next.
    Batches,
}

pub(super) const WAYS: [Way; 4] = [Way::Polled, Way::Unordered, Way::Written, Way::Batches];

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Polled => "futures polled once and awaited in order, in one task",
            Self::Unordered => "futures awaited in any order, in one task",
            Self::Written => "each written before the next, confirms awaited in order",
            Self::Batches => "batches of 1,000 futures",
        }
    }
}

/// When acks are sent.
#[derive(Clone, Copy)]
pub(super) enum Acks {
    /// One for many.
    Many,
    /// One each, and awaited.
    Each,
}

/// A connection and its channel, which lasts as long.
struct Link {
    connection: Connection,
    channel: Channel,
}

impl Link {
    async fn open(url: &str) -> Outcome<Self> {
        // What follows is for ours.
        let url = url.split('?').next().unwrap_or(url);
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok(Self { connection, channel })
    }

    async fn publishing(url: &str) -> Outcome<Self> {
        let link = Self::open(url).await?;
        link.channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(link)
    }

    async fn consuming(url: &str, queue: &str, prefetch: u16) -> Outcome<(Self, Consumer)> {
        let link = Self::open(url).await?;
        link.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let consumed =
            link.channel.basic_consume(queue.into(), TAG.into(), BasicConsumeOptions::default(), FieldTable::default());
        let consumer = consumed.await?;
        Ok((link, consumer))
    }

    /// Publishes one; the message is on its way after the first poll.
    async fn publish(&self, stream: ShortString, id: String, payload: &[u8]) -> Outcome<()> {
        check(self.written(stream, id, payload).await?.await?)
    }

    async fn written(&self, stream: ShortString, id: String, payload: &[u8]) -> Outcome<lapin::PublisherConfirm> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        Ok(self.channel.basic_publish(stream, ShortString::default(), options, payload, properties(id)).await?)
    }

    /// Acks all up to this one, without a wait.
    async fn ack(&self, tag: u64) {
        // Queued by the first poll.
        let _ = poll_immediate(self.channel.basic_ack(tag, BasicAckOptions { multiple: true })).await;
    }

    /// Waits until every ack is durable: what gives the consumer up passes through the queue's log.
    async fn cancel(&self) -> Outcome<()> {
        Ok(self.channel.basic_cancel(TAG.into(), BasicCancelOptions::default()).await?)
    }

    async fn close(self) -> Outcome<()> {
        Ok(self.connection.close(lapin::protocol::constants::REPLY_SUCCESS, "OK".into()).await?)
    }
}

const TAG: &str = "raw";

/// The bytes that ours puts on the wire.
fn properties(id: String) -> BasicProperties {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut headers = FieldTable::default();
    headers.insert("zephcast-published-ms".into(), AMQPValue::LongLongInt(now.as_millis() as i64));
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id.into())
        .with_timestamp(now.as_secs())
        .with_headers(headers)
}

fn check(confirmed: Confirmation) -> Outcome<()> {
    match confirmed {
        Confirmation::Ack(None) => Ok(()),
        refused => Err(format!("not stored: {refused:?}").into()),
    }
}

fn queue(stream: &str) -> String {
    format!("{stream}.{GROUP}")
}

/// Publishes with a connection that is made before the clock starts, and waits for every confirm.
pub(super) async fn publish(url: String, stream: String, messages: usize, way: Way) -> Outcome<Sample> {
    let link = Link::publishing(&url).await?;
    let (stream, payload) = (ShortString::from(stream), [b'x'; PAYLOAD_BYTES]);
    let prefix = format!("{:016x}", fastrand::u64(..));
    let publish = |n: usize| link.publish(stream.clone(), format!("{prefix}-{n}"), &payload);
    publish(messages).await?;
    let watch = Stopwatch::start();
    match way {
        Way::Polled => {
            let mut waiting: VecDeque<Pin<Box<_>>> = VecDeque::with_capacity(IN_FLIGHT);
            for n in 0..messages {
                if waiting.len() == IN_FLIGHT
                    && let Some(oldest) = waiting.pop_front()
                {
                    oldest.await?;
                }
                let mut publishing = Box::pin(publish(n));
                match poll_immediate(&mut publishing).await {
                    Some(done) => done?,
                    None => waiting.push_back(publishing),
                }
            }
            for publishing in waiting {
                publishing.await?;
            }
        }
        Way::Unordered => {
            let mut waiting = FuturesUnordered::new();
            for n in 0..messages {
                if waiting.len() == IN_FLIGHT {
                    waiting.next().await.transpose()?;
                }
                let mut publishing = Box::pin(publish(n));
                match poll_immediate(&mut publishing).await {
                    Some(done) => done?,
                    None => waiting.push(publishing),
                }
            }
            while waiting.next().await.transpose()?.is_some() {}
        }
        Way::Written => {
            let mut waiting = VecDeque::with_capacity(IN_FLIGHT);
            for n in 0..messages {
                if waiting.len() == IN_FLIGHT
                    && let Some(oldest) = waiting.pop_front()
                {
                    check(oldest.await?)?;
                }
                waiting.push_back(link.written(stream.clone(), format!("{prefix}-{n}"), &payload).await?);
            }
            for confirm in waiting {
                check(confirm.await?)?;
            }
        }
        Way::Batches => {
            for first in (0..messages).step_by(IN_FLIGHT) {
                let batch = join_all((first..messages.min(first + IN_FLIGHT)).map(publish));
                batch.await.into_iter().collect::<Outcome<()>>()?;
            }
        }
    }
    let sample = watch.stop(messages);
    link.close().await?;
    Ok(sample)
}

/// Consumes a filled queue; the clock starts with the first message, and at the end every ack is durable.
pub(super) async fn consume(url: String, stream: String, messages: usize, acks: Acks) -> Outcome<Sample> {
    let (link, mut consumer) = Link::consuming(&url, &queue(&stream), PREFETCH).await?;
    let mut watch = None;
    for n in 1..=messages as u64 {
        let delivery = next(&mut consumer).await?;
        watch.get_or_insert_with(Stopwatch::start);
        black_box(&delivery.data);
        match acks {
            Acks::Each => drop(delivery.acker.ack(BasicAckOptions::default()).await?),
            Acks::Many if n.is_multiple_of(ACKED) || n == messages as u64 => link.ack(delivery.delivery_tag).await,
            Acks::Many => {}
        }
    }
    link.cancel().await?;
    let sample = watch.ok_or("nothing came")?.stop(messages);
    link.close().await?;
    Ok(sample)
}

async fn next(consumer: &mut Consumer) -> Outcome<Delivery> {
    Ok(consumer.next().await.ok_or("the consumer ended")??)
}

/// Publishes at a steady rate and consumes meanwhile, once both are at work.
pub(super) async fn latency(url: String, stream: String) -> Outcome<Sample> {
    let publisher = Link::publishing(&url).await?;
    let (link, mut consumer) = Link::consuming(&url, &queue(&stream), PREFETCH).await?;
    let stream = ShortString::from(stream);
    let id = || "0123456789abcdef-1".to_owned();
    for _ in 0..WARM_UP {
        publisher.publish(stream.clone(), id(), &[b'w'; PAYLOAD_BYTES]).await?;
        let delivery = next(&mut consumer).await?;
        link.ack(delivery.delivery_tag).await;
    }
    let watch = Stopwatch::start();
    let schedule = Schedule::begin();
    let handling: JoinHandle<Outcome<(Ages, Link)>> = tokio::spawn(async move {
        let mut ages = Ages::new(schedule)?;
        while !ages.is_complete() {
            let mut delivery = next(&mut consumer).await?;
            ages.handled(&delivery.data);
            // What is there already is acked with it.
            while let Some(Some(another)) = consumer.next().now_or_never() {
                delivery = another?;
                ages.handled(&delivery.data);
            }
            link.ack(delivery.delivery_tag).await;
        }
        link.cancel().await?;
        Ok((ages, link))
    });
    let mut waiting = Vec::with_capacity(latency::MESSAGES);
    let sent = schedule.send(async |payload| {
        let (publisher, stream) = (&publisher, stream.clone());
        let mut publishing = Box::pin(async move { publisher.publish(stream, id(), &payload).await });
        match poll_immediate(&mut publishing).await {
            Some(done) => done?,
            None => waiting.push(publishing),
        }
        Ok(())
    });
    sent.await?;
    for publishing in waiting {
        publishing.await?;
    }
    let (ages, link) = handling.await??;
    let sample = watch.stop(latency::MESSAGES);
    link.close().await?;
    publisher.close().await?;
    Ok(ages.into_sample(sample))
}

/// Publishes without a look at confirms.
pub(super) struct Feed {
    link: Link,
    stream: ShortString,
}

impl Feed {
    pub(super) async fn open(url: &str, stream: &str) -> Outcome<Self> {
        Ok(Self { link: Link::open(url).await?, stream: stream.into() })
    }

    /// It is on its way when this returns.
    pub(super) async fn send(&self, id: u64, payload: [u8; 16]) {
        let _ = poll_immediate(Box::pin(self.link.written(self.stream.clone(), id.to_string(), &payload))).await;
    }

    pub(super) async fn close(self) -> Outcome<()> {
        self.link.close().await
    }
}

/// A member of the group.
pub(super) struct Member {
    link: Link,
    consumer: Consumer,
}

impl Member {
    pub(super) async fn join(url: &str, stream: &str) -> Outcome<Self> {
        let (link, consumer) = Link::consuming(url, &queue(stream), PREFETCH).await?;
        Ok(Self { link, consumer })
    }

    /// Handles messages; at the end also what it had fetched.
    pub(super) async fn work(mut self, handled: impl Fn(&[u8]), stopped: impl Future<Output = ()>) -> Outcome<()> {
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                delivery = next(&mut self.consumer) => self.handle(delivery?, &handled).await,
                () = &mut stopped => break,
            }
        }
        self.link.cancel().await?;
        while let Some(delivery) = self.consumer.next().await {
            self.handle(delivery?, &handled).await;
        }
        self.link.close().await
    }

    async fn handle(&self, delivery: Delivery, handled: impl Fn(&[u8])) {
        handled(&delivery.data);
        self.link.ack(delivery.delivery_tag).await;
    }
}

/// Takes one message and then no more, for so long.
pub(crate) async fn stall(url: &str, stream: &str, group: &str, time: Duration) -> Outcome<()> {
    let (_link, mut consumer) = Link::consuming(url, &format!("{stream}.{group}"), PREFETCH).await?;
    let _held = next(&mut consumer).await?;
    tokio::time::sleep(time).await;
    Ok(())
}

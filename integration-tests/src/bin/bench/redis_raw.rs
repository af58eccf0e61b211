//! The raw client, used at its best: batches, no wait for a single answer, acks gathered by hand.

use std::hint::black_box;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error as FredError;
use fred::interfaces::{ClientLike, StreamsInterface};
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig, TcpConfig};
use fred::types::{ClusterHash, CustomCommand, Key, Resp3Frame, Value};
use futures_util::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use tokio::task::{JoinHandle, JoinSet};

use crate::latency::{self, Ages, Schedule};
use crate::measure::{Sample, Stopwatch};
use crate::{Outcome, PAYLOAD_BYTES};

const GROUP: &str = "raw";
const READ: i64 = 1_000;
/// Messages of one explicit pipeline, and how many of those wait for their answers.
const PIPELINE: usize = 500;
const PIPELINES: usize = 4;

/// How to publish many messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// A future a message, so many in flight.
    Futures(usize),
    /// Explicit pipelines.
    Pipelines,
}

pub(crate) const WAYS: [Way; 3] = [Way::Futures(512), Way::Futures(1_000), Way::Pipelines];

impl Way {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Futures(count) => format!("{count} futures in flight in one task"),
            Self::Pipelines => format!("{PIPELINES} explicit pipelines of {PIPELINE} at a time"),
        }
    }
}

pub(crate) async fn connect(url: &str) -> Outcome<Client> {
    let connection = ConnectionConfig {
        tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
        ..ConnectionConfig::default()
    };
    // As few flushes as ours have.
    let performance = PerformanceConfig { max_feed_count: 1_000, ..PerformanceConfig::default() };
    let client = Client::new(Config::from_url(url)?, Some(performance), Some(connection), None);
    drop(client.init().await?);
    Ok(client)
}

/// Publishes with a connection that is made before the clock starts.
pub(crate) async fn publish(url: String, stream: String, messages: usize, way: Way) -> Outcome<Sample> {
    let client = connect(&url).await?;
    let watch = Stopwatch::start();
    fill(&client, &stream, messages, way).await?;
    let sample = watch.stop(messages);
    client.quit().await?;
    Ok(sample)
}

/// Publishes and waits for every answer.
pub(crate) async fn fill(client: &Client, stream: &str, messages: usize, way: Way) -> Outcome<()> {
    let (stream, payload) = (Key::from(stream), Bytes::from(vec![b'x'; PAYLOAD_BYTES]));
    let prefix = format!("{:016x}", fastrand::u64(..));
    match way {
        Way::Futures(limit) => {
            let mut waiting = FuturesUnordered::new();
            for n in 0..messages {
                if waiting.len() >= limit {
                    let _: Option<Value> = waiting.try_next().await?;
                }
                let fields = fields(&prefix, n, &payload);
                waiting.push(client.xadd(stream.clone(), false, None, "*", fields));
            }
            while waiting.try_next().await?.is_some() {}
        }
        Way::Pipelines => {
            let batch = async |first: usize| {
                let pipeline = client.pipeline();
                for n in first..messages.min(first + PIPELINE) {
                    let fields = fields(&prefix, n, &payload);
                    pipeline.xadd::<(), _, _, _, _>(stream.clone(), false, None, "*", fields).await?;
                }
                pipeline.all::<Vec<Value>>().await
            };
            let mut batches =
                futures_util::stream::iter((0..messages).step_by(PIPELINE)).map(batch).buffer_unordered(PIPELINES);
            while batches.try_next().await?.is_some() {}
        }
    }
    Ok(())
}

/// The bytes that ours puts on the wire.
fn fields(prefix: &str, n: usize, payload: &Bytes) -> Vec<(Key, Value)> {
    let id = Bytes::from(format!("{prefix}-{n}"));
    vec![
        (Key::from_static_str("data"), Value::from(payload.clone())),
        (Key::from_static_str("zephcast-id"), Value::from(id)),
    ]
}

/// Consumes a filled stream.
pub(crate) async fn consume(url: String, stream: String, messages: usize) -> Outcome<Sample> {
    let group = Group::create(&url, stream).await?;
    let watch = Stopwatch::start();
    group.handle(messages, |payload| drop(black_box(payload))).await?;
    let sample = watch.stop(messages);
    group.quit().await?;
    Ok(sample)
}

/// Publishes at a steady rate and consumes meanwhile.
pub(crate) async fn latency(url: String, stream: String) -> Outcome<Sample> {
    let (publisher, group) = (connect(&url).await?, Group::create(&url, stream.clone()).await?);
    let watch = Stopwatch::start();
    let schedule = Schedule::begin();
    let consumer: JoinHandle<Outcome<Ages>> = tokio::spawn(async move {
        let mut ages = Ages::new(schedule)?;
        group.handle(latency::MESSAGES, |payload| ages.handled(&payload)).await?;
        group.quit().await?;
        Ok(ages)
    });
    let stream = Key::from(stream);
    let mut answers = JoinSet::new();
    let sent = schedule.send(async |payload| {
        let (client, stream) = (publisher.clone(), stream.clone());
        let fields = fields("0123456789abcdef", 1, &payload);
        answers.spawn(async move { client.xadd::<Value, _, _, _, _>(stream, false, None, "*", fields).await });
        Ok(())
    });
    sent.await?;
    for answer in answers.join_all().await {
        answer?;
    }
    let ages = consumer.await??;
    publisher.quit().await?;
    Ok(ages.into_sample(watch.stop(latency::MESSAGES)))
}

/// The one member of a group, with a connection for reads that wait and another for acks.
struct Group {
    reader: Client,
    acks: Client,
    stream: String,
}

impl Group {
    async fn create(url: &str, stream: String) -> Outcome<Self> {
        let (reader, acks) = (connect(url).await?, connect(url).await?);
        let _: Value = acks.xgroup_create(stream.as_str(), GROUP, "0", true).await?;
        Ok(Self { reader, acks, stream })
    }

    /// Calls the handler for each message. The next read is under way while a batch is handled; a batch's acks are one
    /// command, for which nothing waits but the end.
    async fn handle(&self, expected: usize, mut handler: impl FnMut(Bytes)) -> Outcome<()> {
        let mut acks = JoinSet::new();
        let (mut handled, mut read) = (0, Some(self.read()));
        while let Some(reading) = read.take() {
            let entries = entries(reading.await??);
            let count = entries.len();
            read = (handled + count < expected).then(|| self.read());
            let mut ids: Vec<Value> = Vec::with_capacity(2 + count);
            ids.extend([self.stream.as_str().into(), GROUP.into()]);
            for (id, payload) in entries.into_iter().filter_map(take_apart) {
                handler(payload);
                ids.push(Value::Bytes(id));
            }
            handled += count;
            if count > 0 {
                let client = self.acks.clone();
                acks.spawn(async move { client.custom_raw(command("XACK"), ids).await });
            }
        }
        for answer in acks.join_all().await {
            answer?;
        }
        Ok(())
    }

    /// Sends the next read now.
    fn read(&self) -> JoinHandle<Result<Resp3Frame, FredError>> {
        let stream = self.stream.as_str().into();
        let arguments: Vec<Value> = vec![
            "GROUP".into(),
            GROUP.into(),
            "member".into(),
            "COUNT".into(),
            READ.into(),
            "BLOCK".into(),
            1_000.into(),
            "STREAMS".into(),
            stream,
            ">".into(),
        ];
        let client = self.reader.clone();
        tokio::spawn(async move { client.custom_raw(command("XREADGROUP"), arguments).await })
    }

    async fn quit(self) -> Outcome<()> {
        self.reader.quit().await?;
        Ok(self.acks.quit().await?)
    }
}

fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::Random, false)
}

/// The entries of the one stream of a reply.
fn entries(reply: Resp3Frame) -> Vec<Resp3Frame> {
    let stream = array(reply).into_iter().next();
    stream.and_then(|stream| array(stream).pop()).map(array).unwrap_or_default()
}

/// An entry's id and payload, slices of what was read from the socket.
fn take_apart(entry: Resp3Frame) -> Option<(Bytes, Bytes)> {
    let mut parts = array(entry).into_iter();
    let id = string(parts.next()?)?;
    let mut fields = array(parts.next()?).into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if string(name)? == "data" {
            return Some((id, string(value)?));
        }
    }
    None
}

fn array(frame: Resp3Frame) -> Vec<Resp3Frame> {
    if let Resp3Frame::Array { data, .. } = frame { data } else { Vec::new() }
}

fn string(frame: Resp3Frame) -> Option<Bytes> {
    match frame {
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Some(data),
        _ => None,
    }
}

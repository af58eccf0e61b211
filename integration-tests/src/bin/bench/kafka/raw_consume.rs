//! The raw client consumes, at its best: many records a call, and commits gathered by hand.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use tokio::task::spawn_blocking;

use super::batches::{Batched, Reader, Record};
use super::frontier::Frontier;
use super::settings::{Protocol, consuming};
use super::{PATIENCE, SLICE};
use crate::Outcome;
use crate::measure::{Sample, Stopwatch};

/// What is done with each record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Handling {
    /// Its bytes are looked at where they lie, and its headers are not.
    InPlace,
    /// Its payload and its id become the application's own, to be kept as long as it likes.
    Copied,
}

impl Handling {
    pub(super) fn handle(self, record: &Record) {
        match self {
            Self::InPlace => drop(black_box(record.payload())),
            Self::Copied => {
                let owned = (Bytes::copy_from_slice(record.payload()), record.id().map(Bytes::copy_from_slice));
                drop(black_box(owned));
            }
        }
    }
}

/// Consumes a filled topic by its queue; the clock starts with the first record.
pub(super) async fn consume(
    server: String,
    topic: String,
    group: String,
    messages: usize,
    handling: Handling,
) -> Outcome<Sample> {
    let run = move || -> Outcome<Sample> {
        let settings = consuming(&server, &group, Protocol::Classic);
        let consumer: Batched = settings.create_with_context(Default::default())?;
        let mut reader = Reader::new(&consumer)?;
        consumer.subscribe(&[&topic])?;
        let (mut frontier, mut watch, mut handled) = (Frontier::new(&topic), None, 0);
        let mut heard = Instant::now();
        while handled < messages {
            if let Some(event) = consumer.poll(Duration::ZERO) {
                event?;
            }
            let count = reader.read(usize::MAX, Duration::from_millis(1), |record| {
                watch.get_or_insert_with(Stopwatch::start);
                handling.handle(record);
                frontier.handled(record.partition(), record.offset());
            })?;
            if count > 0 {
                handled += count;
                heard = Instant::now();
            }
            patient(heard)?;
            frontier.commit_sometimes(&consumer)?;
        }
        frontier.commit(&consumer, CommitMode::Sync)?;
        Ok(watch.ok_or("nothing came")?.stop(messages))
    };
    spawn_blocking(run).await?
}

/// The same by the client's own call for one record.
pub(super) async fn consume_polled(server: String, topic: String, group: String, messages: usize) -> Outcome<Sample> {
    let run = move || -> Outcome<Sample> {
        let consumer: BaseConsumer = consuming(&server, &group, Protocol::Classic).create()?;
        consumer.subscribe(&[&topic])?;
        let (mut frontier, mut watch, mut handled) = (Frontier::new(&topic), None, 0);
        let mut heard = Instant::now();
        while handled < messages {
            let Some(message) = consumer.poll(SLICE) else {
                patient(heard)?;
                continue;
            };
            let message = message?;
            watch.get_or_insert_with(Stopwatch::start);
            black_box(message.payload());
            frontier.handled(message.partition(), message.offset());
            handled += 1;
            if handled % 1_024 == 0 {
                heard = Instant::now();
                frontier.commit_sometimes(&consumer)?;
            }
        }
        frontier.commit(&consumer, CommitMode::Sync)?;
        Ok(watch.ok_or("nothing came")?.stop(messages))
    };
    spawn_blocking(run).await?
}

pub(super) fn patient(heard: Instant) -> Outcome<()> {
    if heard.elapsed() > PATIENCE { Err("nothing comes any more".into()) } else { Ok(()) }
}

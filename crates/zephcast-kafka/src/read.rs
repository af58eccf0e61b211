//! Reading records where they lie: no group is joined and nothing is committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::oneshot;
use zephcast_core::{ErrorKind, Headers, Result};

use crate::cluster::{Cluster, Watcher, looking};
use crate::error::{error, translate};
use crate::native;

/// A look ends when it brought so many bytes. One record may exceed them.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// How often the reading thread looks whether anybody still waits for it.
const SLICE: Duration = Duration::from_millis(50);

/// What is to be read of a partition: from an offset to before another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) end: i64,
}

/// A record where it lies.
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) published_ms: Option<u64>,
    pub(crate) payload: Option<Bytes>,
    pub(crate) key: Option<Bytes>,
    pub(crate) headers: Headers,
}

/// What was read.
#[derive(Default)]
pub(crate) struct Found {
    /// Those of each partition in order.
    pub(crate) records: Vec<Record>,
    /// Where reading goes on in each partition that was to be read.
    pub(crate) next: BTreeMap<i32, i64>,
}

/// At most `limit` records of these spans, and at most so many bytes as a look may bring. Of transactions only what is
/// committed. What is not there any more is passed over.
pub(crate) async fn records(
    cluster: &Cluster,
    operation: &'static str,
    topic: &str,
    spans: BTreeMap<i32, Span>,
    limit: usize,
) -> Result<Found> {
    let mut look = Look::new(&spans, limit);
    if look.is_over() {
        return Ok(look.found);
    }
    // Ends the look when the cluster is closed.
    cluster.library(operation)?;
    let timeout = cluster.config().request_timeout;
    let consumer = consumer(cluster.config().client_config(), cluster.watcher());
    let consumer = consumer.map_err(|error| translate(operation, error))?;
    let mut list = TopicPartitionList::new();
    for (partition, span) in look.open() {
        let added = list.add_partition_offset(topic, partition, Offset::Offset(span.from));
        added.map_err(|error| translate(operation, error))?;
    }
    let (sender, answer) = oneshot::channel();
    // Nobody joins it: it ends when it has an answer or nobody waits for one. Leaving takes a moment longer.
    tokio::task::spawn_blocking(move || {
        let outcome = consumer.assign(&list).and_then(|()| look.run(&consumer, timeout, || sender.is_closed()));
        drop(list);
        let _ = sender.send(outcome.map(|()| look));
    });
    let look = match answer.await {
        Ok(outcome) => outcome.map_err(|error| translate(operation, error))?,
        Err(_) => return Err(error(ErrorKind::Unavailable, operation, "the runtime is ending")),
    };
    match look.is_over() {
        true => Ok(look.found),
        false => Err(cluster.silence(operation, timeout)),
    }
}

fn consumer(mut settings: ClientConfig, watcher: Watcher) -> std::result::Result<BaseConsumer<Watcher>, KafkaError> {
    settings
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "16384");
    looking(settings, watcher)
}

/// One look: what is still to be read, and what was found.
struct Look {
    /// Spans that are not read to their end.
    open: BTreeMap<i32, Span>,
    limit: usize,
    bytes: usize,
    found: Found,
}

impl Look {
    fn new(spans: &BTreeMap<i32, Span>, limit: usize) -> Self {
        let next = spans.iter().map(|(partition, span)| (*partition, span.from)).collect();
        let open = spans.iter().filter(|(_, span)| span.from < span.end);
        Self {
            open: open.map(|(partition, span)| (*partition, *span)).collect(),
            limit,
            bytes: 0,
            found: Found { records: Vec::new(), next },
        }
    }

    fn open(&self) -> impl Iterator<Item = (i32, Span)> {
        self.open.iter().map(|(partition, span)| (*partition, *span))
    }

    fn is_over(&self) -> bool {
        self.open.is_empty() || self.found.records.len() >= self.limit || self.bytes >= MOST_BYTES
    }

    /// Reads until the look is over, nothing comes for too long, or nobody waits.
    fn run(
        &mut self,
        consumer: &BaseConsumer<Watcher>,
        timeout: Duration,
        is_forgotten: impl Fn() -> bool,
    ) -> std::result::Result<(), KafkaError> {
        let mut heard = Instant::now();
        while !self.is_over() && heard.elapsed() < timeout && !is_forgotten() {
            match consumer.poll(SLICE) {
                None => continue,
                Some(Ok(record)) => self.take(&record),
                Some(Err(KafkaError::PartitionEOF(partition))) => self.ends(partition),
                Some(Err(error)) if is_final(&error) => return Err(error),
                // It goes on trying, and the thread that serves the cluster hears why.
                Some(Err(_)) => continue,
            }
            heard = Instant::now();
        }
        Ok(())
    }

    fn take(&mut self, record: &BorrowedMessage<'_>) {
        let (partition, offset) = (record.partition(), record.offset());
        let Some(span) = self.open.get(&partition) else { return };
        if offset < span.end {
            let copied = copied(record);
            self.bytes += copied.payload.as_ref().map_or(0, Bytes::len)
                + copied.key.as_ref().map_or(0, Bytes::len)
                + copied.headers.byte_len();
            self.found.records.push(copied);
            self.found.next.insert(partition, offset + 1);
        }
        if offset + 1 >= span.end {
            self.ends(partition);
        }
    }

    /// Nothing of the span is left, be it that its last records are none for readers.
    fn ends(&mut self, partition: i32) {
        if let Some(span) = self.open.remove(&partition) {
            self.found.next.insert(partition, span.end);
        }
    }
}

fn copied(record: &BorrowedMessage<'_>) -> Record {
    Record {
        partition: record.partition(),
        offset: record.offset(),
        published_ms: record.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()),
        payload: record.payload().map(Bytes::copy_from_slice),
        key: record.key().map(Bytes::copy_from_slice),
        headers: native::headers(record),
    }
}

/// Whether reading cannot go on after this.
fn is_final(error: &KafkaError) -> bool {
    let kind = error.rdkafka_error_code().map_or(ErrorKind::Broker, crate::error::kind_of);
    match kind {
        // That it may not look at the group does not matter: it has none.
        ErrorKind::PermissionDenied => {
            error.rdkafka_error_code() != Some(rdkafka::error::RDKafkaErrorCode::GroupAuthorizationFailed)
        }
        kind => !kind.is_retryable(),
    }
}

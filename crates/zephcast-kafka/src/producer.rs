//! The one producer of a client: what its publishers send, and what its members move.

mod desk;
mod epoch;
mod lane;
mod reports;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use zephcast_core::{Error, ErrorKind, PublishError, Result};

use self::desk::Held;
pub(crate) use self::desk::{Answer, MOST_MESSAGES, Ticket};
use self::epoch::Epoch;
pub(crate) use self::lane::{Hold, Lane};
use crate::KafkaConfig;
use crate::context::{Context, Trouble};
use crate::error::{closed, error, invalid, kind_of, missing, translate};
use crate::record::{Outgoing, UNNAMEABLE, Written};

const OPERATION: &str = "publish";

/// The most bytes without an answer, with what the library keeps beside each message. Below the library's own limits, at
/// which it refuses and does not tell when there is room again.
const ROOM: usize = 64 << 20;

/// The most bytes that are put into the queue at once, but for one larger message.
pub(crate) const MOST_BYTES: usize = ROOM / 4;

/// How long the library tries to have a message stored. Shorter than publishers wait by default, since what the library
/// gave up is known to be stored or not, or known to be unknown; what a publisher gave up never is.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(25);

/// The most bytes of records that the library sends together for a partition. A larger record goes alone.
const BATCH: usize = 1_000_000;

/// The largest record that is sent, with what is noted of it: what a client reads in one answer by default has room for
/// it. Topics take much less by default, and say so themselves.
const MAX_RECORD: usize = 64 << 20;

/// What the library's producer is made with.
fn settings(config: &KafkaConfig) -> ClientConfig {
    let mut settings = config.client_config();
    settings
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // As Java's clients: the same key, the same partition.
        .set("partitioner", "murmur2_random")
        .set("linger.ms", config.linger.as_millis().to_string())
        .set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
        .set("message.max.bytes", MAX_RECORD.to_string())
        .set("batch.size", BATCH.to_string())
        .set("queue.buffering.max.messages", "10000000")
        .set("queue.buffering.max.kbytes", "1048576")
        // How long an unknown topic may be one that not every broker knows yet.
        .set("topic.metadata.propagation.max.ms", "3000");
    config.set_properties(&mut settings);
    settings
}

/// Produces, shared by whoever does so for a client.
pub(crate) struct Producer {
    config: ClientConfig,
    trouble: Trouble,
    context: Context,
    room: Arc<Semaphore>,
    /// What messages go by; `None` once closed.
    current: Mutex<Option<Arc<Epoch>>>,
    /// By topic.
    lanes: Mutex<HashMap<String, Weak<Lane>>>,
}

impl Producer {
    /// Makes a producer, which connects by itself.
    ///
    /// # Errors
    /// For settings that the library refuses.
    pub(crate) fn new(config: &KafkaConfig) -> Result<Self> {
        Self::with(settings(config), Context::new(config))
    }

    fn with(settings: ClientConfig, context: Context) -> Result<Self> {
        let epoch = Epoch::start(&settings, context.clone())?;
        Ok(Self {
            config: settings,
            trouble: context.trouble.clone(),
            context,
            room: Arc::new(Semaphore::new(ROOM)),
            current: Mutex::new(Some(epoch)),
            lanes: Mutex::default(),
        })
    }

    /// Lets the library ask for a topic and, with the first, for what it needs to publish at all. Returns meanwhile.
    pub(crate) fn warm_up(&self, topic: &str) {
        if let Ok(epoch) = self.epoch() {
            // What is wrong with it is said when something is published.
            let _ = epoch.native.topic(topic);
        }
    }

    /// What all who publish to this topic share.
    pub(crate) fn lane(&self, topic: &str) -> Arc<Lane> {
        Lane::of(&mut self.lanes.lock().unwrap_or_else(PoisonError::into_inner), topic)
    }

    /// Waits for room for records of this size together.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) async fn room(&self, size: usize) -> Result<OwnedSemaphorePermit> {
        // A larger one takes all there is.
        let size = u32::try_from(size.min(ROOM)).unwrap_or(u32::MAX);
        self.room.clone().acquire_many_owned(size).await.map_err(|_| closed(OPERATION))
    }

    /// Puts records into the queue, from 1 to [`MOST_MESSAGES`], in their order and before what later calls put there.
    ///
    /// # Errors
    /// None of them is in the queue.
    pub(crate) fn send<'a>(
        &self,
        topic: &str,
        partition: Option<i32>,
        records: impl ExactSizeIterator<Item = Written<'a>>,
        held: Held,
    ) -> Result<Ticket> {
        let epoch = self.epoch()?;
        let topic =
            epoch.native.topic(topic).map_err(|code| translate(OPERATION, KafkaError::MessageProduction(code)))?;
        let desk = &epoch.reports().desk;
        let ticket = desk.open(records.len(), held);
        for (place, written) in records.enumerate() {
            let tag = ticket.tag(place);
            if let Err(code) = written.record(partition).and_then(|record| topic.produce(record, tag)) {
                if code == Code::Fatal {
                    epoch.give_up();
                }
                desk.answer(tag, Answer::Refused { code, may_be_stored: false });
            }
        }
        Ok(ticket)
    }

    /// Stores one record, in a partition of choice or in that of its key: gives the partition and the offset, which is
    /// negative where the broker does not say it.
    ///
    /// # Errors
    /// As [`Sink::publish`](zephcast_core::driver::Sink::publish).
    ///
    /// # Cancel safety
    /// Dropped, it may be stored.
    pub(crate) async fn store(
        &self,
        topic: &str,
        partition: Option<i32>,
        record: Outgoing,
    ) -> Result<(i32, i64), PublishError> {
        let written = record.written();
        let room = self.room(written.size()).await.map_err(PublishError::Failed)?;
        let ticket =
            self.send(topic, partition, std::iter::once(written), (room, None)).map_err(PublishError::Failed)?;
        let answers = ticket.answers().await;
        self.outcome(topic, answers.first().copied().unwrap_or(Answer::Unanswered))
    }

    /// What an answer means.
    pub(crate) fn outcome(&self, topic: &str, answer: Answer) -> Result<(i32, i64), PublishError> {
        match answer {
            Answer::Stored { partition, offset } => Ok((partition, offset)),
            Answer::Refused { code, may_be_stored: false } => Err(PublishError::Failed(self.refusal(topic, code))),
            Answer::Refused { code, may_be_stored: true } => Err(PublishError::Unknown(self.refusal(topic, code))),
            Answer::Unanswered => {
                Err(PublishError::Unknown(error(ErrorKind::Closed, OPERATION, "closed before there was an answer")))
            }
        }
    }

    /// What went wrong last and is not over.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.trouble.last()
    }

    /// The connection works: what went wrong before is over.
    pub(crate) fn works(&self) {
        self.trouble.is_over();
    }

    fn refusal(&self, topic: &str, code: Code) -> Error {
        let source = KafkaError::MessageProduction(code);
        match (code, kind_of(code)) {
            (Code::InvalidArgument, _) => invalid(OPERATION, UNNAMEABLE),
            (_, ErrorKind::NotFound) => missing(OPERATION, topic).caused_by(source),
            (Code::Fatal | Code::PurgeQueue | Code::PurgeInflight, _) => {
                let given_up = error(ErrorKind::Unavailable, OPERATION, "given up before it was confirmed");
                self.trouble.explain(given_up.caused_by(source))
            }
            (_, kind @ ErrorKind::Timeout) => {
                let late = error(kind, OPERATION, "not confirmed in time");
                self.trouble.explain(late.caused_by(source))
            }
            _ => translate(OPERATION, source),
        }
    }

    /// What messages go by; a new one when the library gave the last one up.
    fn epoch(&self) -> Result<Arc<Epoch>> {
        let mut current = self.lock();
        let Some(epoch) = &*current else { return Err(closed(OPERATION)) };
        if !epoch.is_given_up() {
            return Ok(epoch.clone());
        }
        let new = Epoch::start(&self.config, self.context.clone())?;
        epoch.retire();
        *current = Some(new.clone());
        Ok(new)
    }

    /// Lets nothing more in, and waits for the answers to what is on its way.
    ///
    /// # Errors
    /// `Timeout` when some are missing at the deadline. What was not sent by then goes on, until it is, its time to be
    /// delivered has passed, or the process ends.
    ///
    /// # Cancel safety
    /// Dropped, it goes on by itself.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<()> {
        self.room.close();
        let Some(epoch) = self.lock().take() else { return Ok(()) };
        let (done, flushed) = oneshot::channel();
        let flush = move || {
            let flushed = epoch.native.flush(deadline);
            epoch.retire();
            drop(epoch);
            // Nobody may wait any more.
            let _ = done.send(flushed);
        };
        thread::Builder::new()
            .name("zephcast-kafka-close".into())
            .spawn(flush)
            .map_err(|source| error(ErrorKind::Internal, "close", "no thread can be started").caused_by(source))?;
        match flushed.await {
            Ok(true) => Ok(()),
            _ => Err(error(ErrorKind::Timeout, "close", "messages were not confirmed in time")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Epoch>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is on its way goes on by itself.
impl Drop for Producer {
    fn drop(&mut self) {
        if let Some(epoch) = self.lock().take() {
            epoch.retire();
        }
    }
}

#[cfg(test)]
mod tests;

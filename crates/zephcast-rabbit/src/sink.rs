//! Publishing to a stream.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::types::ShortString;
use tokio::sync::oneshot;
use zephcast_core::driver::Sink;
use zephcast_core::{Error, ErrorKind, Message, Position, PublishError, StreamName};

use crate::clock::now_ms;
use crate::config::Exchange;
use crate::connection::{Connection, blocked_by};
use crate::error::{code, error, late, missing, reply, translate};
use crate::lane::{Lane, Outcome, Outgoing};
use crate::properties;
use crate::topology;

const OPERATION: &str = "publish";

/// The way to publish to one stream, on a channel of its own of the connection that nothing but publishing uses.
pub(crate) struct RabbitSink {
    connection: Arc<Connection>,
    stream: StreamName,
    /// Whether publishing makes a stream that is not there, or no longer.
    create: bool,
    /// Held for as long as it takes to hand a batch in, so that batches are stored in the order of their calls.
    lane: tokio::sync::Mutex<Option<Arc<Lane>>>,
}

type Answer = Result<Option<Position>, PublishError>;

impl RabbitSink {
    pub(crate) fn new(connection: Arc<Connection>, stream: &StreamName, create: bool) -> Self {
        Self { connection, stream: stream.clone(), create, lane: tokio::sync::Mutex::default() }
    }

    /// The lane that works, or else a new one, for which the stream has to be there.
    async fn lane(&self, current: &mut Option<Arc<Lane>>) -> Result<Arc<Lane>, Error> {
        if let Some(lane) = current.as_ref().filter(|lane| !lane.is_over() && !lane.is_worn()) {
            return Ok(lane.clone());
        }
        if let Some(former) = current.take().filter(|former| !former.is_over()) {
            // What is on its way there comes first. A server that is silent is found out by those who wait for that.
            let timeout = self.connection.config().request_timeout.min(zephcast_core::driver::LONGEST);
            let _ = tokio::time::timeout(timeout, former.finish()).await;
        }
        topology::stream(&self.connection, OPERATION, self.connection.config(), &self.stream, self.create).await?;
        let lane = Arc::new(Lane::open(&self.connection, OPERATION).await?);
        *current = Some(lane.clone());
        Ok(lane)
    }

    fn encode(&self, message: &Message, most: usize) -> Result<Outgoing, Error> {
        let (exchange, encoded) = match self.connection.config().exchange {
            Exchange::Default => {
                // What is the key elsewhere names the queue here.
                let notes = properties::Notes { published_ms: Some(now_ms()), ..properties::Notes::default() };
                let mut encoded = properties::encode_copy(message, None, &notes, most)?;
                encoded.routing_key = ShortString::from(self.connection.config().queue_behind(&self.stream));
                (ShortString::default(), encoded)
            }
            _ => (ShortString::from(self.stream.as_str()), properties::encode(message, most)?),
        };
        let properties::Outgoing { routing_key, properties, payload } = encoded;
        Ok(Outgoing { exchange, routing_key, properties, payload })
    }

    /// Waits for outcomes as long as the server may take. One that takes nothing for now is waited for: whoever
    /// publishes knows for how long, and what the reason is.
    async fn outcomes(
        &self,
        lane: &Lane,
        mut outcomes: oneshot::Receiver<Vec<Outcome>>,
    ) -> Result<Vec<Outcome>, Error> {
        let timeout = self.connection.config().request_timeout.min(zephcast_core::driver::LONGEST);
        loop {
            match tokio::time::timeout(timeout, &mut outcomes).await {
                Ok(Ok(outcomes)) => return Ok(outcomes),
                Ok(Err(_)) => return Err(lost()),
                Err(_) if lane.link().blocked().is_some() => {}
                Err(_) => {
                    self.connection.give_up(lane.link());
                    return Err(late(OPERATION));
                }
            }
        }
    }

    fn answer(&self, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Stored => Ok(None),
            Outcome::Unroutable => {
                let text = format!("no queue takes it: the stream {:?} has no group for its key", self.stream);
                Err(PublishError::Failed(error(ErrorKind::Unroutable, OPERATION, text)))
            }
            Outcome::Refused => {
                let text = "a queue of the stream takes none: it is full, or has no leader for now";
                Err(PublishError::Failed(error(ErrorKind::Blocked, OPERATION, text)))
            }
            Outcome::Bad(source) => Err(PublishError::Failed(translate(OPERATION, source))),
            // It has its turn on the next channel.
            Outcome::NotSent => Err(PublishError::Failed(lost())),
            // The exchange was deleted: what came after that is not stored, what came before may be.
            Outcome::Unknown(source) if reply(&source).is_some_and(|(said, _)| said == code::NOT_FOUND) => {
                Err(PublishError::Unknown(missing(OPERATION, self.stream.as_str()).caused_by(source)))
            }
            Outcome::Unknown(source) => Err(PublishError::Unknown(translate(OPERATION, source))),
        }
    }
}

fn lost() -> Error {
    error(ErrorKind::Unavailable, OPERATION, "the connection was lost")
}

#[async_trait]
impl Sink for RabbitSink {
    async fn publish(&self, batch: &[Message]) -> Vec<Answer> {
        let mut turn = self.lane.lock().await;
        // Nothing is sent that would wait in the client library, nor is a channel opened, which would wait there, too.
        if let Some(reason) = self.connection.blocked() {
            let error = blocked_by(OPERATION, &reason);
            return batch.iter().map(|_| Err(PublishError::Failed(error.clone()))).collect();
        }
        let lane = match self.lane(&mut turn).await {
            Ok(lane) => lane,
            Err(error) => return batch.iter().map(|_| Err(PublishError::Failed(error.clone()))).collect(),
        };
        let most = lane.link().frame_max();
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(batch.len());
        let mut messages = Vec::with_capacity(batch.len());
        for message in batch {
            match self.encode(message, most) {
                Ok(outgoing) => {
                    messages.push(outgoing);
                    answers.push(None);
                }
                Err(refused) => answers.push(Some(Err(PublishError::Failed(refused)))),
            }
        }
        let outcomes = lane.publish(messages);
        drop(turn);
        let mut outcomes = match self.outcomes(&lane, outcomes).await {
            Ok(outcomes) => outcomes.into_iter().map(|outcome| self.answer(outcome)).collect(),
            Err(error) => {
                let unanswered = answers.iter().filter(|answer| answer.is_none());
                unanswered.map(|_| Err(PublishError::Unknown(error.clone()))).collect::<Vec<_>>()
            }
        }
        .into_iter();
        let none = || Err(PublishError::Unknown(error(ErrorKind::Internal, OPERATION, "an outcome is missing")));
        answers.into_iter().map(|answer| answer.or_else(|| outcomes.next()).unwrap_or_else(none)).collect()
    }

    fn trouble(&self) -> Option<Error> {
        self.connection.trouble(OPERATION)
    }
}

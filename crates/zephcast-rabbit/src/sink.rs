//! Publishing to a stream.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use zephcast_core::driver::Sink;
use zephcast_core::{Error, ErrorKind, Message, Position, PublishError, StreamName};

use crate::brokers::Brokers;
use crate::config::Exchange;
use crate::connection::{Connection, blocked_by};
use crate::error::{beside_too_large, code, error, largest_message, late, missing, reply, translate};
use crate::lane::{Lane, Outcome};
use crate::properties::{self, Outgoing};
use crate::topology;

const OPERATION: &str = "publish";

/// The way to publish to one stream, on a channel of its own of the connection that nothing but publishing uses.
pub(crate) struct RabbitSink {
    brokers: Arc<Brokers>,
    stream: StreamName,
    /// Whether publishing makes a stream that is not there, or no longer.
    create: bool,
    /// Held for as long as it takes to hand a batch in, so that batches are stored in the order of their calls.
    lane: tokio::sync::Mutex<Option<Arc<Lane>>>,
}

/// How many messages are handed in together: while these are written the next ones are encoded.
const TOGETHER: usize = 32;

type Answer = Result<Option<Position>, PublishError>;

/// Messages that were handed in together.
struct HandedIn {
    /// Why not, for each of them.
    refused: Vec<Option<Error>>,
    /// Of the others.
    outcomes: oneshot::Receiver<Vec<Outcome>>,
}

impl RabbitSink {
    pub(crate) fn new(brokers: Arc<Brokers>, stream: &StreamName, create: bool) -> Self {
        Self { brokers, stream: stream.clone(), create, lane: tokio::sync::Mutex::default() }
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.brokers.publishing
    }

    /// The lane that works, or else a new one, for which the stream has to be there.
    async fn lane(&self, current: &mut Option<Arc<Lane>>) -> Result<Arc<Lane>, Error> {
        if let Some(former) = current {
            if !former.is_over() && !former.is_worn() {
                return Ok(former.clone());
            }
            // What is on its way there comes first. It stays the lane until then, whoever waits for that.
            tokio::select! {
                biased;
                () = former.finished() => {}
                () = former.valve().ended() => {}
                () = former.valve().until(false) => return Err(self.connection().trouble(OPERATION).unwrap_or_else(lost)),
            }
        }
        topology::stream(self.connection(), OPERATION, self.connection().config(), &self.stream, self.create).await?;
        let lane = Arc::new(Lane::open(self.connection(), OPERATION).await?);
        *current = Some(lane.clone());
        Ok(lane)
    }

    fn encode(&self, message: &Message, most: usize) -> Result<Outgoing, Error> {
        match self.connection().config().exchange {
            // What is the key elsewhere names the queue here.
            Exchange::Default => {
                properties::encode_for_queue(message, self.connection().config().queue_behind(&self.stream), most)
            }
            _ => properties::encode(message, self.stream.as_str(), most),
        }
    }

    /// Whether what a queue refused is nowhere: it was the only one, and does not dead-letter it. In doubt it is somewhere.
    async fn is_refused_nowhere(&self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(2);
        let Some(management) = &self.brokers.management else { return false };
        let config = self.connection().config();
        let asked = async {
            match config.exchange {
                Exchange::Default => {
                    management.queue_refuses_for_good(OPERATION, config.queue_behind(&self.stream)).await
                }
                _ => management.exchange_refuses_for_good(OPERATION, self.stream.as_str()).await,
            }
        };
        matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(true)))
    }

    /// Hands messages in, but for those that cannot be carried.
    fn hand_in(&self, lane: &Lane, messages: &[Message]) -> HandedIn {
        let most = lane.frame_max();
        let mut refused = Vec::with_capacity(messages.len());
        let mut outgoing = Vec::with_capacity(messages.len());
        for message in messages {
            refused.push(match self.encode(message, most) {
                Ok(message) => {
                    outgoing.push(message);
                    None
                }
                Err(error) => Some(error),
            });
        }
        HandedIn { refused, outcomes: lane.publish(outgoing) }
    }

    /// An answer for each, in order.
    async fn answers(&self, handed_in: Vec<HandedIn>) -> Vec<Answer> {
        let mut parts = Vec::with_capacity(handed_in.len());
        // The last first, so that one wake-up is enough for all.
        for HandedIn { refused, outcomes } in handed_in.into_iter().rev() {
            parts.push((refused, outcomes.await.unwrap_or_default()));
        }
        parts.reverse();
        let was_refused =
            parts.iter().flat_map(|(_, outcomes)| outcomes).any(|outcome| matches!(outcome, Outcome::Refused));
        let is_nowhere = was_refused && self.is_refused_nowhere().await;
        let answer = |(refused, outcomes): (Vec<Option<Error>>, Vec<Outcome>)| {
            let mut outcomes = outcomes.into_iter();
            refused.into_iter().map(move |refused| match refused {
                Some(error) => Err(PublishError::Failed(error)),
                None => match outcomes.next() {
                    Some(outcome) => self.answer(outcome, is_nowhere),
                    // Its lane is gone.
                    None => Err(PublishError::Unknown(lost())),
                },
            })
        };
        parts.into_iter().flat_map(answer).collect()
    }

    /// `is_nowhere`: whether what a queue refused has not been taken by another one.
    fn answer(&self, outcome: Outcome, is_nowhere: bool) -> Answer {
        match outcome {
            Outcome::Stored => Ok(None),
            Outcome::Unroutable => {
                let text = format!("no queue takes it: the stream {:?} has no group for its key", self.stream);
                Err(PublishError::Failed(error(ErrorKind::Unroutable, OPERATION, text)))
            }
            Outcome::Refused if is_nowhere => {
                let text = "the queue takes none: it is full, or has no leader for now";
                Err(PublishError::Failed(error(ErrorKind::Blocked, OPERATION, text)))
            }
            // Sent again, it would be there once more wherever it was taken.
            Outcome::Refused => {
                let text = "the queue of one group at least takes none: it is full, or has no leader for now; other groups \
                            may have the message";
                Err(PublishError::Unknown(error(ErrorKind::Blocked, OPERATION, text)))
            }
            Outcome::Bad(source) => Err(PublishError::Failed(translate(OPERATION, *source))),
            // It has its turn on the next channel.
            Outcome::NotSent => Err(PublishError::Failed(lost())),
            // The exchange was deleted: what came after that is not stored, what came before may be.
            Outcome::Unknown(source) if reply(&source).is_some_and(|(said, _)| said == code::NOT_FOUND) => {
                Err(PublishError::Unknown(missing(OPERATION, self.stream.as_str()).caused_by(*source)))
            }
            Outcome::Unknown(source) if largest_message(&source).is_some() => {
                Err(PublishError::Unknown(beside_too_large(OPERATION, *source)))
            }
            Outcome::Unknown(source) => Err(PublishError::Unknown(translate(OPERATION, *source))),
            Outcome::Late => Err(PublishError::Unknown(late(OPERATION))),
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
        if let Some(reason) = self.connection().blocked() {
            let error = blocked_by(OPERATION, &reason);
            return batch.iter().map(|_| Err(PublishError::Failed(error.clone()))).collect();
        }
        let lane = match self.lane(&mut turn).await {
            Ok(lane) => lane,
            Err(error) => return batch.iter().map(|_| Err(PublishError::Failed(error.clone()))).collect(),
        };
        let handed_in = batch.chunks(TOGETHER).map(|messages| self.hand_in(&lane, messages)).collect();
        drop(turn);
        self.answers(handed_in).await
    }

    fn trouble(&self) -> Option<Error> {
        self.connection().trouble(OPERATION)
    }
}

#[cfg(test)]
mod tests;

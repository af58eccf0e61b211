//! Publishing to a stream.

use std::collections::VecDeque;
use std::error::Error as _;
use std::sync::Arc;

use async_trait::async_trait;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::Mutex;
use tokio::task::coop::unconstrained;
use zephcast_core::driver::Sink;
use zephcast_core::{Error, ErrorKind, Message, Position, PositionStyle, PublishError, StreamName, Token, UnitId};

use crate::producer::{Answer, Hold, Lane, MOST_BYTES, MOST_MESSAGES, Producer, Ticket};
use crate::record::Written;

type Outcome = Result<Option<Position>, PublishError>;

/// The way to publish to one stream, by the producer of the client.
pub(crate) struct KafkaSink {
    producer: Arc<Producer>,
    stream: String,
    lane: Arc<Lane>,
    /// Held by the call whose turn it is to put its messages into the queue.
    turn: Mutex<()>,
}

impl KafkaSink {
    pub(crate) fn new(producer: Arc<Producer>, stream: &StreamName) -> Self {
        producer.warm_up(stream.as_str());
        let lane = producer.lane(stream.as_str());
        Self { producer, stream: stream.as_str().to_owned(), lane, turn: Mutex::new(()) }
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn publish(&self, batch: &[Message]) -> Vec<Outcome> {
        if self.lane.is_narrow() {
            return self.publish_in_pieces(&batch.iter().collect::<Vec<_>>()).await;
        }
        let mut outcomes = self.publish_together(batch).await;
        let refused: Vec<usize> = (0..batch.len()).filter(|place| may_be_anothers(&outcomes[*place])).collect();
        if !refused.is_empty() {
            let again: Vec<&Message> = refused.iter().map(|place| &batch[*place]).collect();
            for (place, outcome) in refused.into_iter().zip(self.publish_in_pieces(&again).await) {
                outcomes[place] = outcome;
            }
        }
        outcomes
    }

    fn trouble(&self) -> Option<Error> {
        self.producer.trouble()
    }

    /// The library gathers batches of up to 10,000 messages for each partition.
    fn window(&self) -> u32 {
        10_000
    }
}

impl KafkaSink {
    /// Everything at once, to be sent in whatever batches the library makes of it.
    async fn publish_together(&self, batch: &[Message]) -> Vec<Outcome> {
        let mut tickets = Vec::with_capacity(1);
        // Must not be interrupted as long as there is room, so that calls are stored in the order of their first poll.
        let put = unconstrained(async {
            let _turn = self.turn.lock().await;
            let hold = self.lane.shared().await;
            let mut rest = batch;
            while !rest.is_empty() {
                let (count, size) = fitting(rest.iter(), MOST_BYTES);
                let (piece, others) = rest.split_at(count);
                tickets.push(self.send(piece.iter(), size, &hold).await?);
                rest = others;
            }
            Ok::<(), Error>(())
        });
        let refused = put.await.err();
        let mut outcomes = Vec::with_capacity(batch.len());
        for ticket in tickets {
            outcomes.extend(self.outcomes(ticket).await);
        }
        if let Some(refused) = refused {
            outcomes.resize_with(batch.len(), || Err(PublishError::Failed(refused.clone())));
        }
        outcomes
    }

    /// In pieces that the topic takes, each when the one before was answered.
    async fn publish_in_pieces(&self, messages: &[&Message]) -> Vec<Outcome> {
        // As above: calls go in the order of their first poll.
        let hold = unconstrained(self.lane.alone()).await;
        let mut outcomes: Vec<Option<Outcome>> = messages.iter().map(|_| None).collect();
        let mut waiting: VecDeque<usize> = (0..messages.len()).collect();
        while !waiting.is_empty() {
            let (count, size) = fitting(waiting.iter().map(|place| messages[*place]), self.lane.most());
            let piece: Vec<usize> = waiting.drain(..count).collect();
            let answers = match self.send(piece.iter().map(|place| messages[*place]), size, &hold).await {
                Ok(ticket) => self.outcomes(ticket).await,
                Err(refused) => piece.iter().map(|_| Err(PublishError::Failed(refused.clone()))).collect(),
            };
            let (refused, answered): (Vec<_>, Vec<_>) =
                piece.into_iter().zip(answers).partition(|(_, outcome)| count > 1 && may_be_anothers(outcome));
            match refused.is_empty() {
                true => self.lane.widen(),
                false => self.lane.narrow(size),
            }
            refused.into_iter().rev().for_each(|(place, _)| waiting.push_front(place));
            answered.into_iter().for_each(|(place, outcome)| outcomes[place] = Some(outcome));
        }
        outcomes.into_iter().flatten().collect()
    }

    async fn send<'a>(
        &self,
        piece: impl ExactSizeIterator<Item = &'a Message> + Send,
        size: usize,
        hold: &Hold,
    ) -> Result<Ticket, Error> {
        let room = self.producer.room(size).await?;
        self.producer.send(&self.stream, None, piece.map(Written::of), (room, Some(hold.clone())))
    }

    async fn outcomes(&self, ticket: Ticket) -> Vec<Outcome> {
        let answers = ticket.answers().await;
        if answers.iter().any(|answer| matches!(answer, Answer::Stored { .. })) {
            self.producer.works();
        }
        answers.into_iter().map(|answer| self.outcome(answer)).collect()
    }

    fn outcome(&self, answer: Answer) -> Outcome {
        let (partition, offset) = self.producer.outcome(&self.stream, answer)?;
        Ok(u32::try_from(partition)
            .ok()
            .zip(u64::try_from(offset).ok())
            .map(|(partition, offset)| Position::new(PositionStyle::UnitOffset, UnitId(partition), Token(offset, 0))))
    }
}

/// Whether what this was refused for may be the fault of what came along: a batch is too large, or has one message without the
/// key that a compacted topic needs.
fn may_be_anothers(outcome: &Outcome) -> bool {
    let Err(PublishError::Failed(refusal)) = outcome else { return false };
    let code = refusal
        .source()
        .and_then(|source| source.downcast_ref::<KafkaError>())
        .and_then(KafkaError::rdkafka_error_code);
    refusal.kind() == ErrorKind::TooLarge || matches!(code, Some(Code::InvalidRecord | Code::InvalidMessage))
}

/// How many of these the producer takes at once, one at least, and how many bytes they are.
fn fitting<'a>(messages: impl Iterator<Item = &'a Message>, most: usize) -> (usize, usize) {
    let (mut count, mut size) = (0, 0);
    for message in messages.take(MOST_MESSAGES) {
        let more = size + Written::of(message).size();
        if count > 0 && more > most {
            break;
        }
        (count, size) = (count + 1, more);
    }
    (count, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KafkaConfig;

    #[tokio::test]
    async fn the_window_is_as_documented() {
        let producer = Arc::new(Producer::new(&KafkaConfig::new("localhost", 1)).unwrap());
        assert_eq!(KafkaSink::new(producer, &StreamName::new("orders").unwrap()).window(), 10_000);
    }
}

//! Publishing to a stream.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::coop::unconstrained;
use zephcast_core::driver::Sink;
use zephcast_core::{Error, Message, Position, PositionStyle, PublishError, StreamName, Token, UnitId};

use crate::producer::{Answer, MOST_BYTES, MOST_MESSAGES, Producer};
use crate::record::Written;

type Outcome = Result<Option<Position>, PublishError>;

/// The way to publish to one stream, by the producer of the client.
pub(crate) struct KafkaSink {
    producer: Arc<Producer>,
    stream: String,
    /// Held by the call whose turn it is to put its messages into the queue.
    turn: Mutex<()>,
}

impl KafkaSink {
    pub(crate) fn new(producer: Arc<Producer>, stream: &StreamName) -> Self {
        producer.warm_up(stream.as_str());
        Self { producer, stream: stream.as_str().to_owned(), turn: Mutex::new(()) }
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn publish(&self, batch: &[Message]) -> Vec<Outcome> {
        let mut tickets = Vec::with_capacity(1);
        // Must not be interrupted as long as there is room, so that calls are stored in the order of their first poll.
        let refused = unconstrained(async {
            let _turn = self.turn.lock().await;
            for (piece, size) in pieces(batch) {
                let room = self.producer.room(size).await?;
                tickets.push(self.producer.send(&self.stream, None, piece.iter().map(Written::of), room)?);
            }
            Ok::<(), Error>(())
        });
        let refused = refused.await.err();
        let mut outcomes = Vec::with_capacity(batch.len());
        for ticket in tickets {
            let answers = ticket.answers().await;
            if answers.iter().any(|answer| matches!(answer, Answer::Stored { .. })) {
                self.producer.works();
            }
            outcomes.extend(answers.into_iter().map(|answer| self.outcome(answer)));
        }
        if let Some(refused) = refused {
            outcomes.resize_with(batch.len(), || Err(PublishError::Failed(refused.clone())));
        }
        outcomes
    }

    /// The library gathers batches of up to 10,000 messages for each partition.
    fn window(&self) -> u32 {
        10_000
    }
}

impl KafkaSink {
    fn outcome(&self, answer: Answer) -> Outcome {
        let (partition, offset) = self.producer.outcome(&self.stream, answer)?;
        Ok(u32::try_from(partition)
            .ok()
            .zip(u64::try_from(offset).ok())
            .map(|(partition, offset)| Position::new(PositionStyle::UnitOffset, UnitId(partition), Token(offset, 0))))
    }
}

/// A batch in pieces that the producer takes at once; mostly one.
fn pieces(batch: &[Message]) -> impl Iterator<Item = (&[Message], usize)> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        let mut size = Written::of(rest.first()?).size();
        let mut count = 1;
        while let Some(next) = rest.get(count).filter(|_| count < MOST_MESSAGES) {
            let more = size + Written::of(next).size();
            if more > MOST_BYTES {
                break;
            }
            (size, count) = (more, count + 1);
        }
        let (piece, others) = rest.split_at(count);
        rest = others;
        Some((piece, size))
    })
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

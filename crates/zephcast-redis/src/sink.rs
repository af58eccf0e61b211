//! Publishing to a stream.

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fred::error::Error as FredError;
use fred::interfaces::StreamsInterface;
use fred::types::{Key, Value};
use futures_util::future::{join, maybe_done};
use tokio::task::coop::unconstrained;
use zephcast_core::driver::Sink;
use zephcast_core::{Message, Position, PositionStyle, PublishError, StreamName, UnitId};

use crate::connection::Connection;
use crate::entry::{self, Fields};
use crate::error::{CallFailure, garbled, missing, translate};
use crate::link::{Link, classify, classify_many};
use crate::reply::parse_id;

const OPERATION: &str = "publish";

/// The way to publish to one stream, on a connection that nothing but publishing uses.
pub(crate) struct RedisSink {
    connection: Arc<Connection>,
    stream: Key,
    /// Whether publishing makes a stream that is not there, or no longer.
    create: bool,
    payload_field: Bytes,
}

type Outcome = Result<Option<Position>, PublishError>;
type Answer = Result<Value, FredError>;

impl RedisSink {
    pub(crate) fn new(connection: Arc<Connection>, stream: &StreamName, create: bool) -> Self {
        let payload_field = Bytes::from(connection.config().payload_field.clone());
        Self { connection, stream: Key::from(stream.as_str()), create, payload_field }
    }
}

#[async_trait]
impl Sink for RedisSink {
    async fn publish(&self, batch: &[Message]) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(batch.len());
        let mut entries: Vec<Fields> = Vec::with_capacity(batch.len());
        for message in batch {
            match entry::encode(message, &self.payload_field) {
                Ok(fields) => {
                    entries.push(fields);
                    outcomes.push(None);
                }
                Err(refused) => outcomes.push(Some(Err(PublishError::Failed(refused)))),
            }
        }
        let mut sent = match self.connection.link(OPERATION).await {
            Ok(link) => self.publish_on(&link, entries).await,
            Err(error) => entries.iter().map(|_| Err(PublishError::Failed(error.clone()))).collect(),
        }
        .into_iter();
        let unanswered = || Err(PublishError::Unknown(garbled(OPERATION, "answers are missing")));
        outcomes.into_iter().map(|outcome| outcome.or_else(|| sent.next()).unwrap_or_else(unanswered)).collect()
    }
}

impl RedisSink {
    /// All but the last entry go as one explicit pipeline, which costs the client library least. The last one goes on its
    /// own right behind: as long as something waits in its queue, the client library does not flush the socket after
    /// each command of a pipeline.
    async fn publish_on(&self, link: &Arc<Link>, mut entries: Vec<Fields>) -> Vec<Outcome> {
        let Some(last) = entries.pop() else { return Vec::new() };
        let abandoned = Abandoned { connection: &self.connection, link };
        let pipelined = entries.len();
        let pipeline = link.client().pipeline();
        // Only queues them, and must not be interrupted, so that calls are stored in the order of their first poll.
        let queued = unconstrained(async {
            for fields in entries {
                pipeline.xadd::<(), _, _, _, _>(self.stream.clone(), !self.create, None, "*", fields).await?;
            }
            Ok::<(), FredError>(())
        });
        if let Err(source) = queued.await {
            let refused = self.failed(link, CallFailure::NotSent(source));
            return (0..=pipelined).map(|_| Err(refused.clone())).collect();
        }
        let mut many = pin!(maybe_done(pipeline.try_all::<Value>()));
        let last = link.client().xadd::<Value, _, _, _, _>(self.stream.clone(), !self.create, None, "*", last);
        let mut last = pin!(maybe_done(last));
        let answers = async {
            join(many.as_mut(), last.as_mut()).await;
            Ok(())
        };
        let timeout = self.connection.config().command_timeout;
        let unanswered = link.answer_within(timeout, answers).await.err().unwrap_or_else(|| {
            CallFailure::NoAnswer(FredError::new(fred::error::ErrorKind::Unknown, "there is no answer"))
        });
        abandoned.has_its_answer();
        let mut outcomes = match many.take_output() {
            Some(answers) => self.many_outcomes(link, answers, pipelined),
            None => (0..pipelined).map(|_| Err(self.failed(link, unanswered.clone()))).collect(),
        };
        outcomes.push(match last.take_output() {
            Some(answer) => {
                answer.map_err(classify).map_or_else(|failure| Err(self.failed(link, failure)), |id| self.stored(&id))
            }
            None => Err(self.failed(link, unanswered)),
        });
        outcomes
    }

    /// An answer for each entry of the pipeline; or, when it broke, a single one for all of them.
    fn many_outcomes(&self, link: &Arc<Link>, answers: Vec<Answer>, expected: usize) -> Vec<Outcome> {
        let outcome = |answer: Answer| {
            answer.map_err(classify_many).map_or_else(|failure| Err(self.failed(link, failure)), |id| self.stored(&id))
        };
        if answers.len() == expected {
            return answers.into_iter().map(outcome).collect();
        }
        let broken = match answers.into_iter().next().map(outcome) {
            Some(Err(error)) => error,
            _ => PublishError::Unknown(garbled(OPERATION, "answers are missing")),
        };
        (0..expected).map(|_| Err(broken.clone())).collect()
    }

    fn failed(&self, link: &Arc<Link>, failure: CallFailure) -> PublishError {
        self.connection.note(link, &failure);
        match failure {
            CallFailure::Refused(source) | CallFailure::NotSent(source) => {
                PublishError::Failed(translate(OPERATION, source))
            }
            CallFailure::NoAnswer(source) => PublishError::Unknown(translate(OPERATION, source)),
        }
    }

    /// What the server answers an entry with: its id, or nothing where there is no stream and none is to be made.
    fn stored(&self, id: &Value) -> Outcome {
        match id.as_bytes().and_then(parse_id) {
            Some(token) => Ok(Some(Position::new(PositionStyle::EntryId, UnitId(0), token))),
            None if id.is_null() && !self.create => {
                Err(PublishError::Failed(missing(OPERATION, &self.stream.as_str_lossy())))
            }
            None => Err(PublishError::Unknown(garbled(OPERATION, "an entry id was expected"))),
        }
    }
}

/// Gives the connection up when it is dropped: whoever publishes went away before the answer, because it is late. A
/// connection that broke would never be found out otherwise, and what waits on it never be freed.
struct Abandoned<'a> {
    connection: &'a Connection,
    link: &'a Arc<Link>,
}

impl Abandoned<'_> {
    fn has_its_answer(self) {
        std::mem::forget(self);
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.connection.give_up(self.link);
    }
}

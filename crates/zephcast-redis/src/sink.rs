//! Publishing to a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use fred::error::Error as FredError;
use fred::interfaces::StreamsInterface;
use fred::types::{Key, Value};
use futures_util::future::{MaybeDone, maybe_done};
use zephcast_core::driver::Sink;
use zephcast_core::{Message, Position, PositionStyle, PublishError, Result, StreamName, UnitId};

use crate::connection::Connection;
use crate::entry::{self, Fields};
use crate::error::{Failure, garbled, translate};
use crate::link::{Link, classify};
use crate::reply::parse_id;

const OPERATION: &str = "publish";

/// The way to publish to one stream, on a connection that nothing but publishing uses.
pub(crate) struct RedisSink {
    connection: Arc<Connection>,
    stream: Key,
    payload_field: Bytes,
}

type Outcome = std::result::Result<Option<Position>, PublishError>;
type Answer = std::result::Result<Value, FredError>;

impl RedisSink {
    pub(crate) fn new(connection: Arc<Connection>, stream: &StreamName) -> Self {
        let payload_field = Bytes::from(connection.config().payload_field.clone());
        Self { connection, stream: Key::from(stream.as_str()), payload_field }
    }

    /// One command a message rather than an explicit pipeline: the client library flushes the socket after each command
    /// of a pipeline, but after whole runs of commands that wait in its queue.
    fn send(&self, link: &Link, fields: Fields) -> impl Future<Output = Answer> + use<> {
        let client = link.client().clone();
        let stream = self.stream.clone();
        async move { client.xadd::<Value, _, _, _, _>(stream, false, None, "*", fields).await }
    }
}

#[async_trait]
impl Sink for RedisSink {
    async fn publish(&self, batch: &[Message]) -> Vec<Outcome> {
        let encoded = batch.iter().map(|message| entry::encode(message, &self.payload_field));
        let encoded: Vec<Result<Fields>> = encoded.collect();
        match self.connection.link(OPERATION).await {
            Ok(link) => self.publish_on(&link, encoded).await,
            Err(error) => {
                let fail = |fields: Result<Fields>| PublishError::Failed(fields.err().unwrap_or(error.clone()));
                encoded.into_iter().map(|fields| Err(fail(fields))).collect()
            }
        }
    }
}

impl RedisSink {
    async fn publish_on(&self, link: &Arc<Link>, encoded: Vec<Result<Fields>>) -> Vec<Outcome> {
        let mut sent: Vec<Result<_>> = Vec::with_capacity(encoded.len());
        for fields in encoded {
            let mut command = fields.map(|fields| Box::pin(maybe_done(self.send(link, fields))));
            // Puts it into the queue, in order, before anything else can come between.
            command.iter_mut().for_each(poll_now);
            sent.push(command);
        }
        let answers = async {
            // Answers come in order, so this waits once for the whole batch, unless something goes wrong.
            for command in sent.iter_mut().flatten().rev() {
                command.as_mut().await;
            }
            Ok(())
        };
        let timeout = self.connection.config().command_timeout;
        let unanswered = link.answer_within(timeout, answers).await.err();
        let outcome = |command: Result<Pin<Box<MaybeDone<_>>>>| {
            let mut command = command.map_err(PublishError::Failed)?;
            poll_now(&mut command);
            match (command.as_mut().take_output(), &unanswered) {
                (Some(Ok(id)), _) => stored(&id),
                (Some(Err(source)), _) => Err(self.failed(link, classify(source))),
                (None, Some(failure)) => Err(self.failed(link, failure.clone())),
                (None, None) => Err(PublishError::Unknown(garbled(OPERATION, "there is no answer"))),
            }
        };
        sent.into_iter().map(outcome).collect()
    }

    fn failed(&self, link: &Arc<Link>, failure: Failure) -> PublishError {
        self.connection.note(link, &failure);
        match failure {
            Failure::Refused(source) | Failure::NotSent(source) => PublishError::Failed(translate(OPERATION, source)),
            Failure::NoAnswer(source) => PublishError::Unknown(translate(OPERATION, source)),
        }
    }
}

/// Polls once; whoever waits for the answer polls again.
fn poll_now<F: Future<Output = Answer>>(command: &mut Pin<Box<MaybeDone<F>>>) {
    let _ = command.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

fn stored(id: &Value) -> Outcome {
    match id.as_bytes().and_then(parse_id) {
        Some(token) => Ok(Some(Position::new(PositionStyle::EntryId, UnitId(0), token))),
        None => Err(PublishError::Unknown(garbled(OPERATION, "an entry id was expected"))),
    }
}

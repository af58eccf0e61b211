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
        let link = match self.connection.link(OPERATION).await {
            Ok(link) => link,
            Err(error) => {
                let fail = |encoded: Result<Fields>| Err(PublishError::Failed(encoded.err().unwrap_or(error.clone())));
                return encoded.into_iter().map(fail).collect();
            }
        };
        let mut sent: Vec<std::result::Result<_, _>> =
            encoded.into_iter().map(|fields| fields.map(|fields| Box::pin(maybe_done(self.send(&link, fields))))).collect();
        // Queues all of them, in order, before anything else can come between.
        let mut nobody = Context::from_waker(Waker::noop());
        for command in sent.iter_mut().flatten() {
            let _ = command.as_mut().poll(&mut nobody);
        }
        let timeout = self.connection.config().command_timeout;
        let answers = async {
            // Answers come in order: one wake-up for the whole batch, unless something goes wrong.
            for command in sent.iter_mut().flatten().rev() {
                command.as_mut().await;
            }
            Ok(())
        };
        let unanswered = match link.answer_within(timeout, answers).await {
            Ok(_) => Failure::NoAnswer(FredError::new(fred::error::ErrorKind::Canceled, "no answer")),
            Err(failure) => failure,
        };
        let outcome = |command: Result<Pin<Box<MaybeDone<_>>>>| match command {
            Err(invalid) => Err(PublishError::Failed(invalid)),
            Ok(mut command) => {
                let _ = command.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                let answer = command.as_mut().take_output().map_or_else(|| Err(unanswered.clone()), |a: Answer| a.map_err(classify));
                answer.map_or_else(|failure| Err(self.failed(&link, failure)), stored)
            }
        };
        sent.into_iter().map(outcome).collect()
    }
}

impl RedisSink {
    fn failed(&self, link: &Arc<Link>, failure: Failure) -> PublishError {
        self.connection.note(link, &failure);
        match failure {
            Failure::Refused(source) | Failure::NotSent(source) => PublishError::Failed(translate(OPERATION, source)),
            Failure::NoAnswer(source) => PublishError::Unknown(translate(OPERATION, source)),
        }
    }
}

fn stored(id: Value) -> Outcome {
    match id.as_bytes().and_then(parse_id) {
        Some(token) => Ok(Some(Position::new(PositionStyle::EntryId, UnitId(0), token))),
        None => Err(PublishError::Unknown(garbled(OPERATION, "an entry id was expected"))),
    }
}

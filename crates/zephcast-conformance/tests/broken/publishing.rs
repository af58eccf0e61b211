//! Sinks that are wrong in one way.

use async_trait::async_trait;
use zephcast_conformance::tamper::Tamper;
use zephcast_core::driver::Sink;
use zephcast_core::{Headers, Message, Position, PublishError, Result};

type Answers = Vec<Result<Option<Position>, PublishError>>;

/// Says "stored" whatever happened.
pub(crate) struct SwallowsErrors;

#[async_trait]
impl Tamper for SwallowsErrors {
    async fn publish(&self, sink: &dyn Sink, batch: &[Message]) -> Answers {
        sink.publish(batch).await.into_iter().map(|answer| Ok(answer.unwrap_or_default())).collect()
    }
}

/// Sends the first of each batch again, as a client library's hidden retry does.
pub(crate) struct PublishesTwice;

#[async_trait]
impl Tamper for PublishesTwice {
    async fn publish(&self, sink: &dyn Sink, batch: &[Message]) -> Answers {
        let answers = sink.publish(batch).await;
        if let [first, ..] = batch {
            drop(sink.publish(std::slice::from_ref(first)).await);
        }
        answers
    }
}

/// Payload and key only.
pub(crate) struct DropsHeaders;

#[async_trait]
impl Tamper for DropsHeaders {
    async fn publish(&self, sink: &dyn Sink, batch: &[Message]) -> Answers {
        let bare: Vec<Message> = batch.iter().map(|message| message.clone().with_headers(Headers::new())).collect();
        sink.publish(&bare).await
    }
}

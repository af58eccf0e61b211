//! A channel for a few calls, of which the first refusal ends it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::runtime::Handle;
use zephcast_core::{Error, Result};

use crate::connection::Connection;
use crate::link::{CallFailure, Link};

/// A channel of its own, so that what the server refuses costs nobody else's.
pub(crate) struct Errand<'a> {
    connection: &'a Connection,
    operation: &'static str,
    link: Arc<Link>,
    channel: Channel,
    /// Lasts until the channel is closed: cancelled before, it leaves a queue without a reader whose messages are nowhere.
    consumer: Option<Consumer>,
    /// While a call is under way, and after one that was refused.
    may_be_refused: AtomicBool,
}

impl<'a> Errand<'a> {
    pub(crate) async fn begin(connection: &'a Connection, operation: &'static str) -> Result<Self> {
        let link = connection.link(operation).await?;
        let channel = link.channel().await.map_err(|failure| connection.failed(&link, operation, failure))?;
        Ok(Self { connection, operation, link, channel, consumer: None, may_be_refused: AtomicBool::new(false) })
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Waits for the answer to a call of the channel, of which some refusals are answers too.
    pub(crate) async fn try_call<T>(&self, call: impl Future<Output = lapin::Result<T>>) -> Result<T, CallFailure> {
        let was_refused = self.may_be_refused.swap(true, Ordering::Relaxed);
        let answer = self.link.answer(call).await?;
        self.may_be_refused.store(was_refused, Ordering::Relaxed);
        Ok(answer)
    }

    /// Waits for what the channel brings, at most so long: then the failure is `Late`, and the channel is as it was.
    pub(crate) async fn try_call_within<T>(
        &self,
        timeout: Duration,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, CallFailure> {
        let was_refused = self.may_be_refused.swap(true, Ordering::Relaxed);
        let answer = self.link.answer_within(timeout, call).await;
        if !matches!(answer, Err(CallFailure::Said(_))) {
            self.may_be_refused.store(was_refused, Ordering::Relaxed);
        }
        answer
    }

    /// Waits for the answer to a call of the channel.
    pub(crate) async fn call<T>(&self, call: impl Future<Output = lapin::Result<T>>) -> Result<T> {
        self.try_call(call).await.map_err(|failure| self.failed(failure))
    }

    pub(crate) fn failed(&self, failure: CallFailure) -> Error {
        self.connection.failed(&self.link, self.operation, failure)
    }

    /// Begins to read a queue, whose messages go back when this ends.
    pub(crate) async fn read(&mut self, queue: &str) -> Result<(), CallFailure> {
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        let consumed = self.channel.basic_consume(queue.into(), tag, options, FieldTable::default());
        let consumer = self.try_call(consumed).await?;
        self.consumer = Some(consumer);
        Ok(())
    }

    /// What it has read by now; `None` when that is all.
    pub(crate) async fn next_read(&mut self) -> Option<Result<Delivery>> {
        let next = poll_immediate(self.consumer.as_mut()?.next()).await??;
        Some(next.map_err(|source| self.failed(CallFailure::Said(source))))
    }

    /// Ends it in good order: what was sent has arrived, what was taken and not settled goes back.
    pub(crate) async fn end(&self) -> Result<()> {
        if !self.channel.status().connected() {
            return Ok(());
        }
        self.call(self.channel.close(lapin::protocol::constants::REPLY_SUCCESS, "OK".into())).await
    }
}

impl Drop for Errand<'_> {
    /// A channel that the server has just closed is not closed by this side too: the client library gives the whole
    /// connection up when the two cross.
    fn drop(&mut self) {
        let consumer = self.consumer.take().filter(|_| self.channel.status().connected());
        if consumer.is_none() && !self.may_be_refused.load(Ordering::Relaxed) {
            return;
        }
        let (link, channel) = (self.link.clone(), self.channel.clone());
        let Ok(runtime) = Handle::try_current() else { return link.bury(channel) };
        runtime.spawn(async move {
            let _until_it_is_closed = consumer;
            // Answered after a call that nobody waits for any more, of which it is known by then whether it was refused.
            if link.answer(channel.basic_qos(1, BasicQosOptions::default())).await.is_err() {
                return link.bury(channel);
            }
            // A consumer that nobody waits for any more keeps its channel in the client library, and messages.
            let closed = channel.close(lapin::protocol::constants::REPLY_SUCCESS, "OK".into());
            if link.answer(closed).await.is_err() {
                link.bury(channel);
            }
        });
    }
}

#[cfg(test)]
mod tests;

//! Members, asked how they are: the broker says how many consume a queue, and only they know what they do.
//!
//! Each listens on a queue of its own, which goes with its session; all are asked at once by a fanout exchange, and
//! answer where the question says. Nothing is kept at the broker.

mod asking;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer, ExchangeKind};
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;
use zephcast_core::Result;

pub(crate) use self::asking::Roll;
use crate::connection::Connection;
use crate::errand::Errand;
use crate::member::Member;
use crate::names::Names;
use crate::session::{Census, Session};

/// What a member says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    /// How many consumers it has.
    pub(crate) consumers: u64,
    /// Delivered to it and not settled at the broker.
    pub(crate) in_flight: u64,
    /// How long the oldest of them has been here.
    pub(crate) oldest_ms: Option<u64>,
    /// How long its user has had the delivery that it works on longest.
    pub(crate) working_ms: Option<u64>,
    pub(crate) lease_ms: u64,
    /// How many messages the server hands to it without a settlement. Members of earlier versions do not say.
    #[serde(default)]
    pub(crate) prefetch: Option<u32>,
    /// How many deliveries it has acknowledged or given up since it joined. Members of earlier versions do not say.
    #[serde(default)]
    pub(crate) settled: Option<u64>,
    /// Where one consumer at a time is given the queue's messages: whether this one was given any. It is given all
    /// that comes then, unless one of a higher priority takes its turn.
    #[serde(default)]
    pub(crate) is_active: Option<bool>,
}

/// Declares what members are asked by.
pub(crate) async fn declare(channel: &Channel, names: &Names) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let name = names.members.as_str().into();
    channel.exchange_declare(name, ExchangeKind::Fanout, options, FieldTable::default()).await
}

/// Listens to what members are asked by, an exchange that is made unless this client makes none.
pub(crate) async fn listen(channel: &Channel, names: &Names, create: bool) -> lapin::Result<Consumer> {
    let exchange = || ShortString::from(names.members.as_str());
    if create {
        declare(channel, names).await?;
    }
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(ShortString::default(), options, FieldTable::default()).await?.name().clone();
    channel
        .queue_bind(
            queue.clone(),
            exchange(),
            ShortString::default(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    channel.basic_consume(queue, ShortString::default(), options, FieldTable::default()).await
}

/// Answers as long as the session lasts.
async fn answer(member: Weak<Member>, session: Weak<Session>, mut questions: Consumer) {
    while let Some(Ok(question)) = questions.next().await {
        let (Some(member), Some(session)) = (member.upgrade(), session.upgrade()) else { return };
        let Some(to) = question.properties.reply_to().clone() else { continue };
        let report = serde_json::to_vec(&report(&member, &session)).unwrap_or_default();
        // Neither lives for longer because of the answer.
        let brokers = member.brokers.clone();
        drop((member, session));
        let properties = BasicProperties::default();
        let properties = match question.properties.correlation_id() {
            Some(of) => properties.with_correlation_id(of.clone()),
            None => properties,
        };
        if let Err(error) = send(brokers.mover.connection(), to, properties, &report).await {
            tracing::debug!(%error, "a question was not answered");
        }
    }
}

fn report(member: &Member, session: &Session) -> Report {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let Census { consumers, in_flight, oldest, prefetch } = session.census();
    Report {
        name: member.subscription.member.to_string(),
        consumers,
        in_flight,
        oldest_ms: oldest.map(milliseconds),
        working_ms: member.working_for().map(milliseconds),
        lease_ms: milliseconds(member.subscription.lease),
        prefetch: Some(prefetch.into()),
        settled: Some(member.settled.load(Ordering::Relaxed)),
        is_active: session.is_active(),
    }
}

/// Publishes an answer without waiting for more than that it is on its way.
async fn send(connection: &Connection, to: ShortString, properties: BasicProperties, report: &[u8]) -> Result<()> {
    const OPERATION: &str = "answer";
    let errand = Errand::begin(connection, OPERATION).await?;
    let (nowhere, options) = (ShortString::default(), BasicPublishOptions::default());
    errand.call(errand.channel().basic_publish(nowhere, to, options, report, properties)).await?;
    // Behind it on its way, so that the channel does not close before.
    errand.end().await
}

/// The task that answers for a session. It ends with this, and with it the channel on which its member is asked.
pub(crate) struct Answering(AbortHandle);

impl Answering {
    pub(crate) fn begin(member: &Arc<Member>, session: &Arc<Session>, questions: Consumer) -> Self {
        let answering = answer(Arc::downgrade(member), Arc::downgrade(session), questions);
        Self(tokio::spawn(answering).abort_handle())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;

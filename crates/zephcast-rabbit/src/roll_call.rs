//! Members, asked how they are: the broker says how many consume a queue, and only they know what they do.
//!
//! Each listens on a queue of its own, which goes with its session; all are asked at once by a fanout exchange, and
//! answer where the question says. Nothing is kept at the broker.

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
use tokio::time::Instant;
use zephcast_core::Result;

use crate::connection::Connection;
use crate::errand::Errand;
use crate::member::Member;
use crate::names::Names;
use crate::session::{Census, Session};

/// RabbitMQ's own queue for answers, which every channel has for itself.
const ANSWERS: &str = "amq.rabbitmq.reply-to";

/// How long members are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

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
        let (connection, nowhere) = (brokers.mover.connection(), ShortString::default());
        if let Err(error) = send(connection, nowhere, to, BasicProperties::default(), &report).await {
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

/// Publishes without waiting for more than that it is on its way.
async fn send(
    connection: &Connection,
    exchange: ShortString,
    key: ShortString,
    properties: BasicProperties,
    payload: &[u8],
) -> Result<()> {
    const OPERATION: &str = "answer";
    let errand = Errand::begin(connection, OPERATION).await?;
    errand
        .call(errand.channel().basic_publish(exchange, key, BasicPublishOptions::default(), payload, properties))
        .await?;
    // Behind it on its way, so that the channel does not close before.
    errand.end().await
}

/// Asks the members of a group, of which so many consume; who does not answer in time is not among the answers.
pub(crate) async fn ask(connection: &Connection, names: &Names, expected: u64) -> Result<Vec<Report>> {
    const OPERATION: &str = "ask members";
    let mut reports: Vec<Report> = Vec::new();
    if expected == 0 || connection.blocked().is_some() {
        return Ok(reports);
    }
    let errand = Errand::begin(connection, OPERATION).await?;
    let channel = errand.channel();
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let answers = channel.basic_consume(ANSWERS.into(), ShortString::default(), options, FieldTable::default());
    let mut answers = errand.call(answers).await?;
    let properties = BasicProperties::default().with_reply_to(ANSWERS.into());
    let (exchange, key) = (names.members.as_str().into(), ShortString::default());
    errand.call(channel.basic_publish(exchange, key, BasicPublishOptions::default(), b"", properties)).await?;
    let until = Instant::now() + PATIENCE;
    while !are_all(&reports, expected) {
        // An end is that of a group that no member of ours ever joined: there is no exchange.
        let Ok(Some(Ok(answer))) = tokio::time::timeout_at(until, answers.next()).await else { break };
        if let Ok(report) = serde_json::from_slice(&answer.data) {
            reports.push(report);
        }
    }
    Ok(reports)
}

/// How many consumers those are that answered.
pub(crate) fn consumers_of(reports: &[Report]) -> u64 {
    // Whatever somebody may have answered.
    reports.iter().fold(0, |sum, report| sum.saturating_add(report.consumers))
}

/// Whether nobody else consumes, where so many do by the broker's count. It does not count who waits for a turn.
fn are_all(reports: &[Report], consumers: u64) -> bool {
    consumers_of(reports) >= consumers && reports.iter().all(|report| report.is_active.is_none())
}

/// Whether nobody else can have messages, where so many consume by the broker's count.
pub(crate) fn have_all(reports: &[Report], consumers: u64) -> bool {
    let has_active = || reports.iter().any(|report| report.is_active == Some(true));
    are_all(reports, consumers) || (consumers_of(reports) >= consumers && has_active())
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

//! Asks the members of a group, and tells whether anybody else consumes.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Consumer};
use tokio::time::{Instant, sleep, sleep_until};
use zephcast_core::Result;

use super::Report;
use crate::brokers::Brokers;
use crate::errand::Errand;
use crate::names::Names;
use crate::status::existing;

/// RabbitMQ's own queue for answers, which every channel has for itself.
const ANSWERS: &str = "amq.rabbitmq.reply-to";

/// How long members are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long after a count the broker counts once more, while somebody has not answered.
const RECOUNT: Duration = Duration::from_millis(20);

/// What the broker counts in a group's queue, and what its members say.
pub(crate) struct Roll {
    pub(crate) ready: u64,
    /// How many consume. Where one at a time does, those that wait for their turn may not be counted.
    pub(crate) consumers: u64,
    /// What each member said last; without who left, if it is complete.
    pub(crate) reports: Vec<Report>,
    /// Whether nobody else can have messages.
    pub(crate) is_complete: bool,
}

impl Roll {
    /// Who does not answer in time is not among the answers. Members that settle often consume by one more for moments, so
    /// they are asked anew whenever the broker counts differently.
    ///
    /// # Errors
    /// `NotFound`, naming the stream or the group.
    pub(crate) async fn call(brokers: &Brokers, operation: &'static str, names: &Names) -> Result<Self> {
        let (ready, consumers) = existing(brokers, operation, names).await?;
        let mut roll = Self { ready, consumers, reports: Vec::new(), is_complete: consumers == 0 };
        if consumers == 0 || brokers.publishing.blocked().is_some() {
            return Ok(roll);
        }
        let mut inquiry = Inquiry::begin(brokers, operation, names).await?;
        let mut recount = pin!(recount(brokers, operation, names, consumers));
        let mut late = pin!(sleep_until(Instant::now() + PATIENCE));
        // The answers to the last question.
        let mut answered = Vec::new();
        while !are_all(&answered, roll.consumers) {
            tokio::select! {
                answer = inquiry.next() => {
                    // An end is that of a group that no member of ours ever joined: there is no exchange.
                    let Some(Answer { report, is_current }) = answer else { break };
                    roll.reports.retain(|earlier| earlier.name != report.name);
                    roll.reports.push(report.clone());
                    answered.extend(is_current.then_some(report));
                }
                counted = &mut recount => {
                    (roll.ready, roll.consumers) = counted?;
                    recount.set(self::recount(brokers, operation, names, roll.consumers));
                    answered.clear();
                    // Nothing is sent, nor answered, as long as the server takes no messages.
                    if brokers.publishing.blocked().is_some() {
                        break;
                    }
                    tokio::select! {
                        asked = inquiry.ask() => asked?,
                        () = &mut late => break,
                    }
                }
                () = &mut late => break,
            }
        }
        roll.is_complete = have_all(&answered, roll.consumers);
        if roll.is_complete {
            // Not also who has left meanwhile.
            roll.reports = answered;
        }
        Ok(roll)
    }

    /// How many consumers are nobody's who answered.
    pub(crate) fn unnamed(&self) -> u64 {
        self.consumers.saturating_sub(consumers_of(&self.reports))
    }
}

/// What the broker counts once that is something else.
async fn recount(brokers: &Brokers, operation: &'static str, names: &Names, known: u64) -> Result<(u64, u64)> {
    loop {
        sleep(RECOUNT).await;
        let counted = existing(brokers, operation, names).await?;
        if counted.1 != known {
            return Ok(counted);
        }
    }
}

/// A question, asked once or more often.
struct Inquiry<'a> {
    errand: Errand<'a>,
    names: &'a Names,
    answers: Consumer,
    /// How often it was asked.
    times: u32,
}

struct Answer {
    report: Report,
    /// Whether it answers the last time that it was asked.
    is_current: bool,
}

impl<'a> Inquiry<'a> {
    async fn begin(brokers: &'a Brokers, operation: &'static str, names: &'a Names) -> Result<Self> {
        let errand = Errand::begin(&brokers.publishing, operation).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let answers =
            errand.channel().basic_consume(ANSWERS.into(), ShortString::default(), options, FieldTable::default());
        let answers = errand.call(answers).await?;
        let mut inquiry = Self { errand, names, answers, times: 0 };
        inquiry.ask().await?;
        Ok(inquiry)
    }

    async fn ask(&mut self) -> Result<()> {
        self.times += 1;
        let properties =
            BasicProperties::default().with_reply_to(ANSWERS.into()).with_correlation_id(self.times.to_string().into());
        let (exchange, key) = (self.names.members.as_str().into(), ShortString::default());
        let channel = self.errand.channel();
        let published = channel.basic_publish(exchange, key, BasicPublishOptions::default(), b"", properties);
        self.errand.call(published).await?;
        Ok(())
    }

    /// `None` at the end.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn next(&mut self) -> Option<Answer> {
        loop {
            let Delivery { data, properties, .. } = self.answers.next().await?.ok()?;
            let Ok(report) = serde_json::from_slice(&data) else { continue };
            let to = properties.correlation_id().as_ref().and_then(|to| to.as_str().parse::<u32>().ok());
            return Some(Answer { report, is_current: to == Some(self.times) });
        }
    }
}

/// How many consumers those are that answered.
fn consumers_of(reports: &[Report]) -> u64 {
    // Whatever somebody may have answered.
    reports.iter().fold(0, |sum, report| sum.saturating_add(report.consumers))
}

/// Whether nobody else consumes, where so many do by the broker's count. It does not count who waits for a turn.
fn are_all(reports: &[Report], consumers: u64) -> bool {
    consumers_of(reports) >= consumers && reports.iter().all(|report| report.is_active.is_none())
}

/// Whether nobody else can have messages, where so many consume by the broker's count.
fn have_all(reports: &[Report], consumers: u64) -> bool {
    let has_active = || reports.iter().any(|report| report.is_active == Some(true));
    are_all(reports, consumers) || (consumers_of(reports) >= consumers && has_active())
}

//! The consumer of a session, and how many messages the server hands out to it.
//!
//! The server gives back, as delivered once more, what is on its way to a consumer that is cancelled. So a window grows only
//! when it is full, since nothing can be on its way then.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::{MEMBER, Session};
use crate::RabbitConfig;
use crate::inbox::ConsumerNumber;
use crate::link::CallFailure;

/// The number of the consumer with which a session begins; those that take its place have the next ones.
pub(super) const FIRST: ConsumerNumber = 1;

/// The number of consumers that only pass through.
pub(super) const PASSING: ConsumerNumber = 0;

/// What the server hands messages out to.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) number: ConsumerNumber,
    pub(super) tag: ShortString,
    /// How many messages it has without a settlement, at most.
    pub(super) prefetch: u16,
}

/// What a member has at one moment.
pub(crate) struct Census {
    /// How many consumers the server counts: also those that get nothing any more, for as long as something is unsettled that
    /// they were given.
    pub(crate) consumers: u64,
    /// How many messages are delivered and not settled, suspects among them.
    pub(crate) in_flight: u64,
    /// How long the oldest of them has been here.
    pub(crate) oldest: Option<Duration>,
    /// How many messages the server hands out without a settlement.
    pub(crate) prefetch: u16,
}

impl Session {
    /// Whether one consumer at a time is given the queue's messages.
    pub(crate) fn is_single(&self) -> bool {
        self.is_single || self.is_exclusive
    }

    /// Where one consumer at a time is given the queue's messages: whether this one was.
    pub(crate) fn is_active(&self) -> Option<bool> {
        self.is_single.then(|| self.held().began())
    }

    /// How many messages the server hands out without a settlement.
    pub(crate) fn prefetch(&self) -> u16 {
        self.window().as_ref().map_or(0, |window| window.prefetch)
    }

    /// Whether everything is here that the server may hand out: there is room for more only by a settlement.
    pub(crate) fn is_full(&self) -> bool {
        let window = self.window();
        let Some(Window { number, prefetch, .. }) = window.as_ref() else { return true };
        self.held().iter().filter(|(_, held)| held.consumer == *number).count() >= usize::from(*prefetch)
    }

    /// What the member has now, also what nobody fetched.
    pub(crate) fn census(&self) -> Census {
        self.look();
        let (suspects, oldest_suspect) = {
            let suspects = self.suspects.held();
            (suspects.len(), suspects.values().map(|suspect| suspect.since).min())
        };
        let window = self.window();
        let held = self.held();
        let mut numbers: BTreeSet<ConsumerNumber> = held.iter().map(|(_, held)| held.consumer).collect();
        numbers.extend(window.as_ref().map(|window| window.number));
        let first = held.iter().next().map(|(_, first)| first.since);
        let oldest = first.into_iter().chain(oldest_suspect).min();
        Census {
            consumers: numbers.len() as u64,
            in_flight: (held.len() + suspects) as u64,
            oldest: oldest.map(|since| since.elapsed()),
            prefetch: window.as_ref().map_or(0, |window| window.prefetch),
        }
    }

    /// Has the server hand out fewer messages at a time, or more, if the window is full. It sets that for new consumers
    /// only, so that another one takes the place of the one that there is.
    pub(crate) async fn set_prefetch(
        &self,
        config: &RabbitConfig,
        member: &str,
        prefetch: u16,
    ) -> Result<(), CallFailure> {
        let _gate = self.gate.lock().await;
        let _nothing_is_settled = self.settling.write().await;
        self.look();
        if prefetch > self.prefetch() && !self.is_full() {
            return Ok(());
        }
        self.inbox.expect_end();
        self.link.answer(self.channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let number = self.window().as_ref().map_or(FIRST, |window| window.number + 1);
        // By the order of tags the server gives back what consumers have when their channel closes: the newest last.
        let tag = ShortString::from(format!("{member}~{number:06}"));
        let options = BasicConsumeOptions::default();
        let consumed = self.channel.basic_consume(self.queue.clone(), tag, options, arguments(config, member));
        let changing = self.changing();
        let consumer = self.link.answer(consumed).await?;
        let former = self.window().replace(Window { number, tag: consumer.tag(), prefetch });
        self.inbox.add(number, consumer);
        self.renew_pardon();
        if let Some(Window { tag, .. }) = former {
            self.link.answer(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        }
        self.link.answer(self.channel.basic_qos(1, BasicQosOptions::default())).await?;
        changing.done();
        Ok(())
    }

    /// Takes no more messages; what was on its way is in the inbox after the next look, or with the group again.
    pub(crate) async fn cancel(&self) -> Result<(), CallFailure> {
        let window = self.window().take();
        self.inbox.expect_end();
        if let Some(Window { tag, .. }) = window {
            self.link.answer(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        }
        Ok(())
    }

    fn window(&self) -> MutexGuard<'_, Option<Window>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the consumer tells the server about itself.
pub(super) fn arguments(config: &RabbitConfig, member: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    if config.consumer_priority != 0 {
        arguments.insert(ShortString::from("x-priority"), AMQPValue::LongInt(config.consumer_priority));
    }
    arguments.insert(ShortString::from(MEMBER), AMQPValue::LongString(LongString::from(member)));
    arguments
}

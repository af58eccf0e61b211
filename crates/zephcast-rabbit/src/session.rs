//! One life of a member at the broker: its channels, its consumer, and what it holds by them.
//!
//! Delivery tags mean something on their channel alone. When the channel ends, the session does, and what is settled by a
//! tag of it later is lost: never is a tag used on a later channel.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::poll_immediate;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Consumer};
use zephcast_core::{Result, Token};

use crate::RabbitConfig;
use crate::arrival::Arrival;
use crate::connection::Connection;
use crate::held::Held;
use crate::inbox::{End, Inbox};
use crate::link::{CallFailure, Link};
use crate::names::Names;
use crate::roll_call;
use crate::suspect::Suspect;
use crate::topology;

/// So many settlements may be on their way: with more than 32 unanswered the server keeps back the rest until the queue's log
/// has some of them.
const KEPT_BACK: u64 = 24;

/// The argument of a consumer that says whose it is.
pub(crate) const MEMBER: &str = "x-zephcast-member";

/// The channels of a member, from joining to the loss of any of them.
pub(crate) struct Session {
    pub(crate) epoch: u64,
    pub(crate) link: Arc<Link>,
    /// Where messages come from and go back to.
    channel: Channel,
    /// Where suspects come from, one at a time.
    suspects: Channel,
    /// Where the member is asked how it is. Kept, since the channel closes with the last handle.
    _inquiries: Channel,
    /// The consumers, and how many messages the server hands out to each without a settlement.
    consumers: Mutex<Vec<(ShortString, u16)>>,
    /// For their tags.
    subscriptions: AtomicU64,
    /// Held while something may come by a consumer of which the inbox does not know: what comes after it must not be handed
    /// out before.
    gate: tokio::sync::Mutex<()>,
    pub(crate) inbox: Inbox,
    /// What the names of the group's own queues begin with.
    own_prefix: String,
    /// Whether something came with an offset, as from a stream queue.
    has_offsets: AtomicBool,
    held: Mutex<Held>,
    /// The suspects in hand, by delivery tag.
    suspects_held: Mutex<BTreeMap<u64, Suspect>>,
    /// How many settlements were sent of which it is not known that the queue's log has them.
    unsynced: AtomicU64,
    /// Whether a suspect was settled of which it is not known that the broker has it.
    suspects_unsynced: AtomicBool,
    /// What came last by a consumer that only passed through.
    passing: Mutex<Option<u64>>,
    /// The last that may have come by a consumer that was replaced.
    replaced: Mutex<Option<u64>>,
    queue: ShortString,
    is_exclusive: bool,
    is_single: bool,
    /// Set when the consumer ended.
    over: AtomicBool,
}

impl Session {
    /// Subscribes: one attempt. Beside the session, the questions that are asked of its member.
    pub(crate) async fn open(
        connection: &Connection,
        operation: &'static str,
        names: &Names,
        tag: &str,
        prefetch: u16,
        epoch: u64,
    ) -> Result<(Self, Consumer)> {
        let (link, channel) = connection.channel(operation).await?;
        let failed = |failure| connection.failed(&link, operation, failure);
        let suspects = link.channel().await.map_err(failed)?;
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        link.answer(qos).await.map_err(failed)?;
        let inquiries = link.channel().await.map_err(failed)?;
        let questions = link.answer(roll_call::listen(&inquiries, names)).await.map_err(failed)?;
        let config = connection.config();
        let options = BasicConsumeOptions { exclusive: config.exclusive_consumer, ..BasicConsumeOptions::default() };
        let consumed = channel.basic_consume(names.queue.as_str().into(), tag.into(), options, arguments(config, tag));
        let consumer = link.answer(consumed).await.map_err(failed)?;
        // Later consumers of the channel only pass through.
        let qos = channel.basic_qos(1, BasicQosOptions::default());
        link.answer(qos).await.map_err(failed)?;
        let session = Self {
            epoch,
            link: link.clone(),
            channel,
            suspects,
            _inquiries: inquiries,
            consumers: Mutex::new(vec![(consumer.tag(), prefetch)]),
            subscriptions: AtomicU64::new(0),
            gate: tokio::sync::Mutex::default(),
            inbox: Inbox::new(consumer),
            own_prefix: names.prefix(),
            has_offsets: AtomicBool::new(false),
            held: Mutex::default(),
            suspects_held: Mutex::default(),
            unsynced: AtomicU64::new(0),
            suspects_unsynced: AtomicBool::new(false),
            passing: Mutex::default(),
            replaced: Mutex::default(),
            queue: names.queue.as_str().into(),
            is_exclusive: config.exclusive_consumer,
            is_single: config.single_active_consumer,
            over: AtomicBool::new(false),
        };
        Ok((session, questions))
    }

    /// The channel on which suspects are taken.
    pub(crate) fn suspects_channel(&self) -> &Channel {
        &self.suspects
    }

    /// Whether nothing can be settled here any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
            || self.link.is_over()
            || !self.channel.status().connected()
            || !self.suspects.status().connected()
    }

    /// Nothing works here any more.
    pub(crate) fn give_up(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Why nothing comes any more, if so.
    pub(crate) fn end(&self) -> Option<End> {
        self.inbox.end()
    }

    /// Takes in what has come.
    pub(crate) fn look(&self) {
        self.inbox.look(|delivery| self.arrive(delivery));
    }

    /// Waits until more has come.
    ///
    /// # Cancel safety
    /// Cancel safe: what came is in the inbox.
    pub(crate) async fn more(&self) {
        self.inbox.more(|delivery| self.arrive(delivery)).await;
    }

    /// From now on it is held.
    fn arrive(&self, delivery: Delivery) -> Arrival {
        if delivery.properties.headers().as_ref().is_some_and(|headers| headers.contains_key(topology::OFFSET)) {
            self.has_offsets.store(true, Ordering::Relaxed);
        }
        let (arrival, original) = Arrival::new(delivery, &self.own_prefix);
        self.held().insert(arrival.tag, arrival.held(original));
        arrival
    }

    /// Whether what comes may be from a stream queue.
    pub(crate) fn has_offsets(&self) -> bool {
        self.has_offsets.load(Ordering::Relaxed)
    }

    /// The delivery tag of a token, if it is of this session.
    pub(crate) fn tag_of(&self, token: Token) -> Option<u64> {
        (token.1 == self.epoch).then_some(token.0)
    }

    pub(crate) fn token(&self, tag: u64) -> Token {
        Token(tag, self.epoch)
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything is unsettled.
    pub(crate) fn holds_any(&self) -> bool {
        self.held().iter().next().is_some() || !self.suspects_held().is_empty()
    }

    pub(crate) fn suspects_held(&self) -> MutexGuard<'_, BTreeMap<u64, Suspect>> {
        self.suspects_held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles everything up to this tag, or this tag alone. It is on its way when this returns.
    pub(crate) async fn ack(&self, tag: u64, multiple: bool) {
        self.unsynced.fetch_add(1, Ordering::SeqCst);
        // The first poll queues the frame; that a connection ended is found out by the next synchronous call.
        let _ = poll_immediate(self.channel.basic_ack(tag, BasicAckOptions { multiple })).await;
    }

    pub(crate) async fn ack_suspect(&self, tag: u64) {
        self.suspects_unsynced.store(true, Ordering::SeqCst);
        let _ = poll_immediate(self.suspects.basic_ack(tag, BasicAckOptions { multiple: false })).await;
    }

    /// Gives one message back to the queue.
    pub(crate) async fn give_back(&self, tag: u64) {
        self.unsynced.fetch_add(1, Ordering::SeqCst);
        let options = BasicNackOptions { multiple: false, requeue: true };
        let _ = poll_immediate(self.channel.basic_nack(tag, options)).await;
    }

    /// Has the queue give one message up, to its dead letter exchange.
    pub(crate) async fn reject(&self, tag: u64) {
        self.unsynced.fetch_add(1, Ordering::SeqCst);
        let _ = poll_immediate(self.channel.basic_reject(tag, BasicRejectOptions { requeue: false })).await;
    }

    /// Whether the broker has yet to say that it has everything.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced.load(Ordering::SeqCst) > 0 || self.suspects_unsynced.load(Ordering::SeqCst)
    }

    /// Waits until what was settled outlives the server.
    ///
    /// That the server answers a later call of the channel says no more than that it has read the settlements: they
    /// are on their way to the queue's log still, and were seen to come again after a crash. What passes through the log
    /// itself, as a new consumer does, is behind them.
    pub(crate) async fn sync(&self) -> Result<(), CallFailure> {
        let (sent, suspects) =
            (self.unsynced.swap(0, Ordering::SeqCst), self.suspects_unsynced.swap(false, Ordering::SeqCst));
        let synced = async {
            for _ in 0..(u8::from(sent > 0) + u8::from(sent > KEPT_BACK)) {
                self.pass_through_log().await?;
            }
            if suspects {
                // A consumer would be given the next suspect, which would count as delivered.
                self.link.answer(self.suspects.basic_qos(1, BasicQosOptions::default())).await?;
            }
            Ok(())
        };
        let synced = synced.await;
        if synced.is_err() {
            self.unsynced.fetch_add(sent, Ordering::SeqCst);
            self.suspects_unsynced.fetch_or(suspects, Ordering::SeqCst);
        }
        synced
    }

    /// Subscribes once more and takes it back. What that consumer is given, which is little since others come first, is
    /// this member's as anything on its channel.
    async fn pass_through_log(&self) -> Result<(), CallFailure> {
        let _gate = self.gate.lock().await;
        if self.is_exclusive {
            // Nobody else may consume, this member neither.
            return self.link.answer(self.channel.basic_qos(1, BasicQosOptions::default())).await;
        }
        // Always the same tag: the server gives one message at most to it, also over several of these.
        let tag = ShortString::from("~sync");
        let mut arguments = FieldTable::default();
        arguments.insert(ShortString::from("x-priority"), AMQPValue::LongInt(i32::MIN));
        let options = BasicConsumeOptions::default();
        let consumed = self.channel.basic_consume(self.queue.clone(), tag.clone(), options, arguments);
        let mut passing = self.link.answer(consumed).await?;
        self.link.answer(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        while let Some(Some(Ok(delivery))) = passing.next().now_or_never() {
            *self.passing() = Some(delivery.delivery_tag);
            self.inbox.put(self.arrive(delivery));
        }
        Ok(())
    }

    /// Takes no more messages; what was on its way is in the inbox after the next look.
    pub(crate) async fn cancel(&self) -> Result<(), CallFailure> {
        let consumers = std::mem::take(&mut *self.consumers());
        self.inbox.expect_end();
        for (tag, _) in consumers {
            self.link.answer(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        }
        Ok(())
    }

    /// Whether one consumer at a time is given the queue's messages.
    pub(crate) fn is_single(&self) -> bool {
        self.is_single || self.is_exclusive
    }

    /// How many messages the server hands out without a settlement.
    pub(crate) fn prefetch(&self) -> u16 {
        self.consumers().iter().map(|(_, prefetch)| prefetch).sum()
    }

    /// How many consumers the server counts for this member: also those that get nothing any more, for as long as something
    /// is unsettled that they were given.
    pub(crate) fn consumer_count(&self) -> usize {
        let held = self.held();
        let first = held.iter().next().map(|(tag, _)| tag);
        let replaced = *self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let passing = self.passing().is_some_and(|tag| held.get(tag).is_some());
        let lingering = replaced.is_some_and(|last| first.is_some_and(|first| first <= last));
        self.consumers().len() + usize::from(passing) + usize::from(lingering)
    }

    /// Has the server hand out more messages at a time, or fewer. It sets that for new consumers only, so that another one
    /// takes the place of the one that there is.
    pub(crate) async fn set_prefetch(
        &self,
        config: &RabbitConfig,
        member: &str,
        prefetch: u16,
    ) -> Result<(), CallFailure> {
        let _gate = self.gate.lock().await;
        self.inbox.expect_end();
        self.link.answer(self.channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed) + 1;
        // By the order of tags the server gives back what consumers have when their channel closes: the newest last.
        let tag = ShortString::from(format!("{member}~{number:06}"));
        let options = BasicConsumeOptions { exclusive: self.is_exclusive, ..BasicConsumeOptions::default() };
        let consumed = self.channel.basic_consume(self.queue.clone(), tag, options, arguments(config, member));
        let consumer = self.link.answer(consumed).await?;
        let former = std::mem::replace(&mut *self.consumers(), vec![(consumer.tag(), prefetch)]);
        self.inbox.add(consumer);
        for (tag, _) in former {
            self.link.answer(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        }
        self.look();
        let last = self.held().iter().last().map(|(tag, _)| tag);
        *self.replaced.lock().unwrap_or_else(PoisonError::into_inner) = last;
        self.link.answer(self.channel.basic_qos(1, BasicQosOptions::default())).await
    }

    /// Sends back first what would come after newer messages otherwise: the server gives back consumer by consumer, and what
    /// came by one that only passed through lies between the others'. With too much before it, it comes last.
    pub(crate) async fn give_back_in_order(&self) {
        let Some(passing) = *self.passing() else { return };
        let first: Vec<u64> = self.held().iter().map(|(tag, _)| tag).take_while(|tag| *tag <= passing).collect();
        // The server keeps back what is more, and forgets its order.
        if first.last() != Some(&passing) || first.len() as u64 > KEPT_BACK {
            return;
        }
        for tag in first {
            self.give_back(tag).await;
        }
    }

    fn passing(&self) -> MutexGuard<'_, Option<u64>> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consumers(&self) -> MutexGuard<'_, Vec<(ShortString, u16)>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has come, as much as there is room for. Everything before it has been handed out.
    pub(crate) async fn take(&self, most: usize, bytes: usize) -> Vec<Arrival> {
        let _gate = self.gate.lock().await;
        self.look();
        self.inbox.take(most, bytes)
    }

    /// What came before its time, in its place.
    pub(crate) fn take_early(&self, now_ms: u64) -> Vec<Arrival> {
        self.inbox.take_early(now_ms)
    }

    /// Closes the channels: what is held is with the group again when this returns.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<(), CallFailure> {
        self.give_up();
        let code = lapin::protocol::constants::REPLY_SUCCESS;
        for channel in [&self.channel, &self.suspects] {
            self.link.answer_within(deadline, channel.close(code, "OK".into())).await?;
        }
        Ok(())
    }
}

/// What the consumer tells the server about itself.
fn arguments(config: &RabbitConfig, member: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    if config.consumer_priority != 0 {
        arguments.insert(ShortString::from("x-priority"), AMQPValue::LongInt(config.consumer_priority));
    }
    arguments.insert(ShortString::from(MEMBER), AMQPValue::LongString(LongString::from(member)));
    arguments
}

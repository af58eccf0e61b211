//! One life of a member at the broker: its channels, its consumer, and what it holds by them.
//!
//! Delivery tags mean something on their channel alone. When the channel ends, the session does, and what is settled by a
//! tag of it later is lost: never is a tag used on a later channel.

mod copies;
mod settling;
mod suspects;
mod taken_back;
mod unsynced;
mod window;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::ShortString;
use lapin::{Channel, Consumer};
use zephcast_core::{ErrorKind, Result, Token};

use self::copies::Copies;
pub(crate) use self::copies::{CopyId, Purpose};
pub(crate) use self::suspects::GoingBack;
use self::suspects::Suspects;
use self::taken_back::TakenBack;
pub(crate) use self::unsynced::KEPT_BACK;
use self::unsynced::Unsynced;
pub(crate) use self::window::Census;
use self::window::{FIRST, Window, arguments};
use crate::arrival::Arrival;
use crate::clock::now_ms;
use crate::config::Topology;
use crate::connection::Connection;
use crate::error::error;
use crate::held::Held;
use crate::hints::Pardon;
use crate::inbox::{ConsumerNumber, End, Inbox};
use crate::link::{CallFailure, Link};
use crate::names::Names;
use crate::roll_call::Answering;
use crate::{roll_call, topology};

/// The argument of a consumer that says whose it is.
pub(crate) const MEMBER: &str = "x-zephcast-member";

/// The channels of a member, from joining to the loss of any of them.
///
/// Whoever locks several of its parts does so in this order: the inbox, the window, what is held.
pub(crate) struct Session {
    pub(crate) epoch: u64,
    pub(crate) link: Arc<Link>,
    /// Where messages come from and go back to.
    channel: Channel,
    pub(crate) suspects: Suspects,
    /// By which the member answers how it is, if it is asked.
    answering: OnceLock<Answering>,
    /// `None` once the member takes no more.
    window: Mutex<Option<Window>>,
    /// Held while something may come by a consumer of which the inbox does not know: what comes after it must not be handed
    /// out before.
    gate: tokio::sync::Mutex<()>,
    /// Held by whoever settles, so that it can be seen to that nobody does.
    settling: tokio::sync::RwLock<()>,
    pub(crate) inbox: Inbox,
    /// What the names of the group's own queues begin with.
    own_prefix: String,
    held: Mutex<Held>,
    /// What was held for too long, suspects apart.
    pub(crate) taken_back: TakenBack,
    unsynced: Unsynced,
    copies: Copies,
    queue: ShortString,
    is_exclusive: bool,
    is_single: bool,
    /// Of its consumer.
    pardon: Mutex<Pardon>,
    /// Set when the consumer ended.
    over: AtomicBool,
}

impl Session {
    /// Subscribes: one attempt. Beside the session, the questions that are asked of its member; none where this client makes no
    /// exchanges and that for them is missing.
    pub(crate) async fn open(
        connection: &Connection,
        operation: &'static str,
        names: &Names,
        tag: &str,
        prefetch: u16,
        epoch: u64,
    ) -> Result<(Self, Option<Consumer>)> {
        let (link, channel) = connection.channel(operation).await?;
        let failed = |failure| connection.failed(&link, operation, failure);
        let suspects = link.channel().await.map_err(failed)?;
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        link.answer(qos).await.map_err(failed)?;
        let config = connection.config();
        let creates = config.topology == Topology::Declare;
        let mut questions = None;
        if creates || topology::has_exchange(connection, operation, &names.members).await? {
            // The channel lasts as long as its consumer.
            let inquiries = link.channel().await.map_err(failed)?;
            questions = Some(link.answer(roll_call::listen(&inquiries, names, creates)).await.map_err(failed)?);
        }
        let options = BasicConsumeOptions { exclusive: config.exclusive_consumer, ..BasicConsumeOptions::default() };
        let consumed = channel.basic_consume(names.queue.as_str().into(), tag.into(), options, arguments(config, tag));
        let consumer = link.answer(consumed).await.map_err(|failure| match epoch > 1 && failure.is_exclusion() {
            // The server notices later than this side that the last connection broke.
            true => {
                let text =
                    format!("another consumer has the queue {:?} for itself, maybe this one's last", names.queue);
                error(ErrorKind::Unavailable, operation, text).caused_by(failed(failure))
            }
            false => failed(failure),
        })?;
        // Later consumers of the channel only pass through.
        let qos = channel.basic_qos(1, BasicQosOptions::default());
        link.answer(qos).await.map_err(failed)?;
        let session = Self {
            epoch,
            link: link.clone(),
            channel,
            suspects: Suspects::new(link.clone(), suspects, names),
            answering: OnceLock::new(),
            window: Mutex::new(Some(Window { number: FIRST, tag: consumer.tag(), prefetch })),
            gate: tokio::sync::Mutex::default(),
            settling: tokio::sync::RwLock::default(),
            inbox: Inbox::new(FIRST, consumer),
            own_prefix: names.prefix(),
            held: Mutex::default(),
            taken_back: TakenBack::default(),
            unsynced: Unsynced::default(),
            copies: Copies::default(),
            queue: names.queue.as_str().into(),
            is_exclusive: config.exclusive_consumer,
            is_single: config.single_active_consumer,
            pardon: Mutex::new(Pardon::new()),
            over: AtomicBool::new(false),
        };
        Ok((session, questions))
    }

    /// Has its member answer for as long as this lasts.
    pub(crate) fn answer_by(&self, answering: Answering) {
        // There is one.
        let _ = self.answering.set(answering);
    }

    /// Whether nothing can be settled here any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
            || self.link.is_over()
            || !self.channel.status().connected()
            || !self.suspects.channel().status().connected()
    }

    /// Nothing works here any more.
    pub(crate) fn give_up(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// What to say of messages that may be on their way when the consumer goes: none are where nothing ever came.
    pub(crate) fn pardon(&self) -> Option<Pardon> {
        let began = self.held().began();
        began.then(|| *self.pardon.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another consumer has the place of the last one.
    fn renew_pardon(&self) {
        *self.pardon.lock().unwrap_or_else(PoisonError::into_inner) = Pardon::new();
    }

    /// While a consumer comes or goes: given up in between, what it was given would be nobody's, and so the session is over.
    fn changing(&self) -> Changing<'_> {
        Changing(self)
    }

    /// Why nothing comes any more, if so.
    pub(crate) fn end(&self) -> Option<End> {
        self.inbox.end()
    }

    /// Takes in what has come.
    pub(crate) fn look(&self) {
        self.inbox.look(|consumer, delivery| self.arrive(consumer, delivery));
    }

    /// Waits until more has come.
    ///
    /// # Cancel safety
    /// Cancel safe: what came is in the inbox.
    pub(crate) async fn more(&self) {
        self.inbox.more(|consumer, delivery| self.arrive(consumer, delivery)).await;
    }

    /// From now on it is held.
    fn arrive(&self, consumer: ConsumerNumber, delivery: Delivery) -> Arrival {
        let (arrival, original) = Arrival::new(delivery, &self.own_prefix);
        self.held().insert(arrival.tag, arrival.held(consumer, original));
        arrival
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
        self.held().len() > 0 || !self.suspects.held().is_empty()
    }

    /// What has come, as much as there is room for. Everything before it has been handed out.
    pub(crate) async fn take(&self, most: usize, bytes: usize) -> Vec<Arrival> {
        let _gate = self.gate.lock().await;
        self.look();
        self.inbox.take(most, bytes, now_ms())
    }

    /// What came before its time, in its place.
    pub(crate) fn take_early(&self, now_ms: u64) -> Vec<Arrival> {
        self.inbox.take_early(now_ms)
    }

    /// Closes the channels: what is held is with the group again when this returns.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<(), CallFailure> {
        self.give_up();
        let code = lapin::protocol::constants::REPLY_SUCCESS;
        for channel in [&self.channel, self.suspects.channel()] {
            self.link.answer_within(deadline, channel.close(code, "OK".into())).await?;
        }
        Ok(())
    }
}

/// Ends the session when it is dropped before it is [`done`](Self::done).
struct Changing<'a>(&'a Session);

impl Changing<'_> {
    fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests;

//! The suspects of a session: taken one at a time, on a channel of their own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::poll_immediate;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};

use super::unsynced::Unsynced;
use crate::error::code;
use crate::link::{CallFailure, Link};
use crate::names::Names;
use crate::suspect::Suspect;

/// Where suspects come from, and those in hand.
pub(crate) struct Suspects {
    link: Arc<Link>,
    channel: Channel,
    queue: ShortString,
    /// What the names of the group's own queues begin with.
    own_prefix: String,
    /// By delivery tag.
    held: Mutex<BTreeMap<u64, Suspect>>,
    /// The tags of those that nobody asked for yet, in their order.
    untried: Mutex<VecDeque<u64>>,
    pub(super) unsynced: Unsynced,
}

impl Suspects {
    pub(super) fn new(link: Arc<Link>, channel: Channel, names: &Names) -> Self {
        Self {
            link,
            channel,
            queue: names.suspects.as_str().into(),
            own_prefix: names.prefix(),
            held: Mutex::default(),
            untried: Mutex::default(),
            unsynced: Unsynced::default(),
        }
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Suspect>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are any in their queue.
    pub(crate) async fn are_there(&self) -> Result<bool, CallFailure> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = self.channel.queue_declare(self.queue.clone(), options, FieldTable::default());
        Ok(self.link.answer(asked).await?.message_count() > 0)
    }

    /// Whether there is one in hand that nobody asked for yet.
    pub(crate) fn has_untried(&self) -> bool {
        !self.untried().is_empty()
    }

    /// Exactly one, with its delivery tag. It is held from now on.
    pub(crate) async fn next(&self) -> Result<Option<(u64, Suspect)>, CallFailure> {
        loop {
            let untried = self.untried().pop_front();
            let Some(tag) = (match untried {
                Some(tag) => Some(tag),
                None => self.fetch().await?,
            }) else {
                return Ok(None);
            };
            // One that was given back meanwhile comes again.
            if let Some(suspect) = self.held().get(&tag) {
                return Ok(Some((tag, suspect.clone())));
            }
        }
    }

    async fn fetch(&self) -> Result<Option<u64>, CallFailure> {
        let asked = self.channel.basic_get(self.queue.clone(), BasicGetOptions::default());
        let Some(got) = self.link.answer(asked).await? else { return Ok(None) };
        let tag = got.delivery.delivery_tag;
        self.held().insert(tag, Suspect::new(got.delivery, &self.own_prefix));
        Ok(Some(tag))
    }

    /// It is the next to be asked for.
    pub(crate) fn put_off(&self, tag: u64) {
        self.untried().push_front(tag);
    }

    /// So many attempts count of one, if it is still in hand.
    pub(crate) fn count_attempts(&self, tag: u64, attempts: u32) -> Option<Suspect> {
        let mut held = self.held();
        let suspect = held.get_mut(&tag)?;
        suspect.attempts = Some(attempts);
        Some(suspect.clone())
    }

    /// Takes one out of hand, for who settles it.
    pub(crate) fn let_go(&self, tag: u64) -> Option<Suspect> {
        self.held().remove(&tag)
    }

    /// Holds one again that could not be settled.
    pub(crate) fn keep(&self, tag: u64, suspect: Suspect) {
        self.held().insert(tag, suspect);
    }

    /// Settles one that was let go. It is on its way when this returns.
    pub(crate) async fn ack(&self, tag: u64) {
        self.unsynced.add();
        let _ = poll_immediate(self.channel.basic_ack(tag, BasicAckOptions { multiple: false })).await;
    }

    /// Waits until what was settled outlives the server: the next suspect comes through the queue's log, behind that. It is
    /// the next to be asked for, and the broker counts it as delivered meanwhile.
    pub(super) async fn sync(&self) -> Result<(), CallFailure> {
        let syncing = self.unsynced.begin().await;
        for _ in 0..syncing.passes() {
            match self.fetch().await {
                Ok(next) => self.untried().extend(next),
                // Nothing of it is left that could come again.
                Err(failure) if failure.has_code(code::NOT_FOUND) => break,
                Err(failure) => return Err(failure),
            }
        }
        syncing.done();
        Ok(())
    }

    fn untried(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.untried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The suspects of a session: taken one at a time, on a channel of their own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::poll_immediate;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};

use super::copies::{CopyId, Purpose};
use super::taken_back::TakenBack;
use super::unsynced::Unsynced;
use crate::error::code;
use crate::hints::Hint;
use crate::link::{CallFailure, Link};
use crate::member::SUSPECTS;
use crate::names::Names;
use crate::suspect::Suspect;

/// Where suspects come from, and those in hand.
pub(crate) struct Suspects {
    link: Arc<Link>,
    channel: Channel,
    queue: ShortString,
    /// What the names of the group's own queues begin with.
    own_prefix: String,
    /// By delivery tag, until it is settled at the broker.
    held: Mutex<BTreeMap<u64, Suspect>>,
    /// What was held for too long: it is in hand still until it is where it has to be.
    pub(crate) taken_back: TakenBack,
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
            taken_back: TakenBack::default(),
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
            if let Some(suspect) = self.open(&mut self.held(), tag) {
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

    /// So many attempts count of one, if it may still be settled.
    pub(crate) fn count_attempts(&self, tag: u64, attempts: u32) -> Option<Suspect> {
        let mut held = self.held();
        let suspect = self.open(&mut held, tag)?;
        suspect.attempts = Some(attempts);
        Some(suspect.clone())
    }

    /// One failed here, so that so many attempts count: what is said of it then.
    pub(crate) fn fail(&self, tag: u64, attempts: u32) -> Option<Hint> {
        self.open(&mut self.held(), tag)?.fail(attempts)
    }

    /// Whether its user may settle it.
    pub(crate) fn is_open(&self, tag: u64) -> bool {
        self.open(&mut self.held(), tag).is_some()
    }

    /// One that its user may settle: it was not taken back, and nobody sends it back.
    fn open<'a>(&self, held: &'a mut BTreeMap<u64, Suspect>, tag: u64) -> Option<&'a mut Suspect> {
        held.get_mut(&tag).filter(|suspect| !suspect.is_going_back && !self.taken_back.has(tag))
    }

    /// Settles this one, if its user may: whether that is so. It is on its way when this returns.
    pub(crate) async fn ack(&self, tag: u64) -> bool {
        let was_open = {
            let mut held = self.held();
            self.open(&mut held, tag).is_some() && held.remove(&tag).is_some()
        };
        if was_open {
            self.send_ack(tag).await;
        }
        was_open
    }

    async fn send_ack(&self, tag: u64) {
        self.unsynced.add();
        let _ = poll_immediate(self.channel.basic_ack(tag, BasicAckOptions { multiple: false })).await;
    }

    /// Takes one from its user for good: whoever calls sends it back. `false` when it is not in hand, or on its way already.
    pub(crate) fn take_back(&self, tag: u64) -> bool {
        let held = self.held();
        let is_there = held.get(&tag).is_some_and(|suspect| !suspect.is_going_back);
        if is_there {
            self.taken_back.add(tag);
        }
        is_there
    }

    /// One for whoever sends it back: nobody else does, nor settles it, meanwhile. `None` when it is not in hand, or on its
    /// way already.
    pub(crate) fn send_back(&self, tag: u64) -> Option<GoingBack<'_>> {
        let mut held = self.held();
        let suspect = held.get_mut(&tag).filter(|suspect| !suspect.is_going_back)?;
        suspect.is_going_back = true;
        Some(GoingBack { suspects: self, tag, suspect: suspect.clone() })
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

/// A suspect that is being sent back, or elsewhere: in hand until its copy is stored, and as before if that fails or is given up.
pub(crate) struct GoingBack<'a> {
    suspects: &'a Suspects,
    tag: u64,
    pub(crate) suspect: Suspect,
}

impl GoingBack<'_> {
    /// Its copy for a purpose.
    pub(crate) fn copy(&self, purpose: Purpose) -> CopyId {
        CopyId { unit: SUSPECTS, tag: self.tag, purpose }
    }

    /// Its copy is stored.
    pub(crate) async fn done(self) {
        self.suspects.held().remove(&self.tag);
        self.suspects.send_ack(self.tag).await;
    }
}

impl Drop for GoingBack<'_> {
    fn drop(&mut self) {
        if let Some(suspect) = self.suspects.held().get_mut(&self.tag) {
            suspect.is_going_back = false;
        }
    }
}

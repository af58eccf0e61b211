//! What was published, delivered and settled, and whether that is a history that at-least-once delivery allows.
//!
//! A [`History`] makes messages that carry a number and a checksum, is told what happened to them, and then says what
//! was lost, what was corrupt, and what was delivered more often than once, and when.

mod payload;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use zephcast_core::{Message, PublishError, Receipt};

use self::payload::{decode, encode};
use crate::case::{Checked, ensure};

/// A record of one stream and one group. Shared by reference between tasks.
#[derive(Debug)]
pub struct History {
    label: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    made: u64,
    confirmed: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
    failed: BTreeSet<u64>,
    seen: BTreeMap<u64, Vec<Seen>>,
    corrupt: Vec<String>,
}

#[derive(Clone, Debug)]
struct Seen {
    by: String,
    at: Instant,
    settled: Option<Instant>,
}

impl History {
    /// An empty record. The label tells its messages from those of other records.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), inner: Mutex::default() }
    }

    /// A record of the same messages for another group.
    #[must_use]
    pub fn same_messages(&self) -> Self {
        let inner = self.lock();
        let (made, confirmed) = (inner.made, inner.confirmed.clone());
        let (unknown, failed) = (inner.unknown.clone(), inner.failed.clone());
        let inner = Inner { made, confirmed, unknown, failed, ..Inner::default() };
        Self { label: self.label.clone(), inner: Mutex::new(inner) }
    }

    /// The next message: text of at least `bytes` bytes with its number and checksum in it.
    #[must_use]
    pub fn message(&self, bytes: usize) -> Message {
        let mut inner = self.lock();
        inner.made += 1;
        Message::new(encode(&self.label, inner.made, bytes))
    }

    /// Notes how the publish of a message of ours ended.
    pub fn published(&self, payload: &[u8], outcome: &Result<Receipt, PublishError>) {
        let Some(number) = decode(&self.label, payload) else { return self.corrupt(payload) };
        let mut inner = self.lock();
        match outcome {
            Ok(_) => inner.confirmed.insert(number),
            Err(error) if error.is_unknown() => inner.unknown.insert(number),
            Err(_) => inner.failed.insert(number),
        };
    }

    /// Notes a delivery to `member` and returns the message's number; `None` for a payload that is not, or no longer,
    /// one of ours.
    pub fn delivered(&self, member: &str, payload: &[u8]) -> Option<u64> {
        let number = decode(&self.label, payload);
        match number {
            Some(number) => {
                let seen = Seen { by: member.into(), at: Instant::now(), settled: None };
                self.lock().seen.entry(number).or_default().push(seen);
            }
            None => self.corrupt(payload),
        }
        number
    }

    /// Notes that the broker confirmed the settlement of a delivery to `member`.
    pub fn settled(&self, member: &str, number: u64) {
        let mut inner = self.lock();
        let mine = inner.seen.get_mut(&number).and_then(|seen| seen.iter_mut().rev().find(|seen| seen.by == member));
        if let Some(seen) = mine {
            seen.settled = Some(Instant::now());
        }
    }

    /// How many different messages have been delivered so far.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.lock().seen.len()
    }

    /// Whether everything that has a receipt has been delivered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let inner = self.lock();
        inner.confirmed.iter().all(|number| inner.seen.contains_key(number))
    }

    /// What the record amounts to.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let inner = self.lock();
        let known = |number: &u64| *number <= inner.made && !inner.failed.contains(number);
        Findings {
            confirmed: inner.confirmed.len(),
            delivered: inner.seen.values().map(Vec::len).sum(),
            lost: inner.confirmed.iter().filter(|number| !inner.seen.contains_key(number)).copied().collect(),
            unpublished: inner.seen.keys().filter(|number| !known(number)).copied().collect(),
            corrupt: inner.corrupt.clone(),
            repeated: inner.seen.iter().flat_map(|(number, seen)| repeats(*number, seen, &inner.unknown)).collect(),
        }
    }

    fn corrupt(&self, payload: &[u8]) {
        let text: String = String::from_utf8_lossy(payload).chars().take(60).collect();
        self.lock().corrupt.push(text);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn repeats(number: u64, seen: &[Seen], unknown: &BTreeSet<u64>) -> Vec<Repeat> {
    let repeat = |at: usize| {
        let (earlier, again) = (&seen[..at], &seen[at]);
        let before = &seen[at - 1];
        Repeat {
            number,
            first_by: before.by.clone(),
            again_by: again.by.clone(),
            first: before.at,
            again: again.at,
            // Of any, since the one just before may itself have come after a settlement.
            settled_before: earlier.iter().any(|seen| seen.settled.is_some_and(|settled| settled < again.at)),
            maybe_published_twice: unknown.contains(&number),
        }
    };
    (1..seen.len()).map(repeat).collect()
}

/// What a record amounts to.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Messages with a receipt.
    pub confirmed: usize,
    /// Deliveries, repeated ones included.
    pub delivered: usize,
    /// Messages with a receipt that were never delivered.
    pub lost: Vec<u64>,
    /// Messages that were delivered although their publish certainly failed, or that were never made.
    pub unpublished: Vec<u64>,
    /// The beginnings of payloads that are not, or no longer, what was published.
    pub corrupt: Vec<String>,
    /// Deliveries of what had been delivered before.
    pub repeated: Vec<Repeat>,
}

/// A message that was delivered again.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Its number.
    pub number: u64,
    /// Who had it before.
    pub first_by: String,
    /// Who got it again.
    pub again_by: String,
    /// When it was delivered before.
    pub first: Instant,
    /// When it was delivered again.
    pub again: Instant,
    /// Whether an earlier delivery had been settled, as the broker confirmed, before it came again.
    pub settled_before: bool,
    /// Whether it may have been published twice, so that the two are not one message.
    pub maybe_published_twice: bool,
}

impl Findings {
    /// What holds wherever no lease ended: nothing lost, nothing corrupt, nothing that was never published, and nothing
    /// again after its settlement was confirmed.
    ///
    /// # Errors
    /// What was found.
    pub fn at_least_once(&self) -> Checked {
        self.all_there()?;
        self.settled_for_good(|_| false)
    }

    /// What holds at all times: nothing lost, nothing corrupt, nothing that was never published.
    ///
    /// # Errors
    /// What was found.
    pub fn all_there(&self) -> Checked {
        ensure!(self.lost.is_empty(), "lost {} of {}: {:?}", self.lost.len(), self.confirmed, few(&self.lost));
        ensure!(self.corrupt.is_empty(), "corrupt: {:?}", few(&self.corrupt));
        ensure!(self.unpublished.is_empty(), "delivered though not stored: {:?}", few(&self.unpublished));
        Ok(())
    }

    /// Nothing again after its settlement was confirmed, but where `allowed` says that a member went on with what it
    /// had in its hands when its lease ended.
    ///
    /// # Errors
    /// The repeats that nothing explains.
    pub fn settled_for_good(&self, allowed: impl Fn(&Repeat) -> bool) -> Checked {
        let is_wrong = |r: &&Repeat| r.settled_before && !r.maybe_published_twice && !allowed(r);
        let settled: Vec<_> = self.repeated.iter().filter(is_wrong).collect();
        ensure!(settled.is_empty(), "{} delivered again after their settlement: {:?}", settled.len(), few(&settled));
        Ok(())
    }

    /// What holds where nothing was killed: each message exactly once.
    ///
    /// # Errors
    /// What was found.
    pub fn exactly_once(&self) -> Checked {
        self.at_least_once()?;
        self.repeats_only("without a fault", |_| false)
    }

    /// Each message once, but where `allowed` says that a fault explains it.
    ///
    /// # Errors
    /// The repeats that nothing explains.
    pub fn repeats_only(&self, why: &str, allowed: impl Fn(&Repeat) -> bool) -> Checked {
        let repeated: Vec<_> = self.repeated.iter().filter(|r| !r.maybe_published_twice && !allowed(r)).collect();
        ensure!(repeated.is_empty(), "{} delivered more than once, {why}: {:?}", repeated.len(), few(&repeated));
        Ok(())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { confirmed, delivered, lost, corrupt, repeated, .. } = self;
        let (lost, corrupt, repeated) = (lost.len(), corrupt.len(), repeated.len());
        write!(f, "{confirmed} confirmed, {delivered} delivered, {lost} lost, {corrupt} corrupt, {repeated} repeated")
    }
}

fn few<T>(all: &[T]) -> &[T] {
    &all[..all.len().min(8)]
}

#[cfg(test)]
mod tests;

//! Copies of what a session holds, on their way to other queues. While what becomes of one is unknown, none is sent again,
//! whoever waits or has given up.
//!
//! A server that takes nothing for now has what it was sent before: whoever sends that again has it twice once it goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lapin::types::ShortString;
use tokio::sync::watch;
use zephcast_core::{Error, ErrorKind, Result, UnitId};

use super::Session;
use crate::connection::blocked_by;
use crate::error::error;
use crate::link::Valve;
use crate::member::SUSPECTS;
use crate::mover::{Mover, Sent};
use crate::properties::Outgoing;

/// A copy for one purpose of one delivery, by its unit and tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CopyId {
    pub(crate) unit: UnitId,
    pub(crate) tag: u64,
    pub(crate) purpose: Purpose,
}

/// What a copy is for. One that was sent for another purpose does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// It came before its time, and is delayed for the rest of that.
    Early,
    /// A later attempt.
    Retry,
    DeadLetter,
    /// It is to be tried alone.
    Suspect,
    /// A suspect that goes back. Not sent where any other copy of it is stored, or on its way.
    Return,
}

/// What becomes of copies that were sent together; `None` until it is known.
type Outcomes = watch::Receiver<Option<Vec<Result<()>>>>;

/// Where the outcome of one of them will be.
#[derive(Clone)]
struct Awaited {
    outcomes: Outcomes,
    place: usize,
    /// Of the connection that it was sent by.
    valve: Valve,
}

/// What was sent of what the session holds. Written by who stores copies, and cleared of what is held no longer.
#[derive(Default)]
pub(super) struct Copies(Mutex<HashMap<CopyId, Awaited>>);

impl Session {
    /// Stores a copy of each of these, in the queue of its routing key: an answer for each. Who gives that up, or hears of a
    /// failure, may store the same ones again. `Blocked` where the server takes nothing.
    ///
    /// # Cancel safety
    /// Cancel safe: none is sent again before it is known that it is not stored.
    pub(crate) async fn store(
        &self,
        mover: &Arc<Mover>,
        operation: &'static str,
        copies: Vec<(CopyId, Outgoing)>,
    ) -> Vec<Result<()>> {
        self.store_by(mover, operation, &ShortString::default(), copies).await
    }

    /// As [`store`](Self::store), by this exchange.
    pub(crate) async fn store_by(
        &self,
        mover: &Arc<Mover>,
        operation: &'static str,
        exchange: &ShortString,
        copies: Vec<(CopyId, Outgoing)>,
    ) -> Vec<Result<()>> {
        self.copies.retain(|id, awaited| self.is_in_hand(id) && !awaited.is_failed());
        let before: Vec<Option<Awaited>> = copies.iter().map(|(id, _)| self.copies.get(*id)).collect();
        let new = copies.into_iter().zip(&before).filter(|(_, before)| before.is_none());
        let (ids, new): (Vec<CopyId>, Vec<Outgoing>) = new.map(|(copy, _)| copy).unzip();
        let mut sent = match new.is_empty() {
            true => Ok(Vec::new().into_iter()),
            false => {
                mover.send(operation, exchange, new).await.map(|sent| self.copies.add(&ids, mover, sent).into_iter())
            }
        };
        let mut answers = Vec::with_capacity(before.len());
        for before in before {
            let awaited = match (before, &mut sent) {
                (Some(awaited), _) => Ok(awaited),
                (None, Ok(sent)) => sent.next().ok_or_else(|| unanswered(operation)),
                (None, Err(error)) => Err(error.clone()),
            };
            answers.push(match awaited {
                Ok(awaited) => awaited.outcome(mover, operation).await,
                Err(error) => Err(error),
            });
        }
        answers
    }

    /// Whether a suspect is stored elsewhere than where it would go back to, or on its way there.
    pub(crate) fn is_leaving(&self, tag: u64) -> bool {
        self.copies.is_elsewhere(CopyId { unit: SUSPECTS, tag, purpose: Purpose::Return })
    }

    fn is_in_hand(&self, id: CopyId) -> bool {
        match id.unit {
            SUSPECTS => self.suspects.held().contains_key(&id.tag),
            _ => self.held().get(id.tag).is_some(),
        }
    }
}

impl Copies {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<CopyId, Awaited>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// These were sent, in this order.
    fn add(&self, ids: &[CopyId], mover: &Arc<Mover>, sent: Sent) -> Vec<Awaited> {
        let valve = sent.valve().clone();
        let outcomes = watched(mover.clone(), sent);
        let awaited = |place| Awaited { outcomes: outcomes.clone(), place, valve: valve.clone() };
        let all: Vec<Awaited> = (0..ids.len()).map(awaited).collect();
        self.with(|copies| copies.extend(ids.iter().copied().zip(all.iter().cloned())));
        all
    }

    /// The copy for this purpose, or what does for it.
    fn get(&self, id: CopyId) -> Option<Awaited> {
        self.with(|copies| match (copies.get(&id), id.purpose) {
            (None, Purpose::Return) => elsewhere(copies, id).next().cloned(),
            (copy, _) => copy.cloned(),
        })
    }

    fn is_elsewhere(&self, id: CopyId) -> bool {
        self.with(|copies| elsewhere(copies, id).any(|awaited| !awaited.is_failed()))
    }

    fn retain(&self, is_of_use: impl Fn(CopyId, &Awaited) -> bool) {
        self.with(|copies| copies.retain(|id, awaited| is_of_use(*id, awaited)));
    }
}

/// Copies of the same delivery for other purposes.
fn elsewhere(copies: &HashMap<CopyId, Awaited>, id: CopyId) -> impl Iterator<Item = &Awaited> {
    let others =
        copies.iter().filter(move |(of, _)| (of.unit, of.tag) == (id.unit, id.tag) && of.purpose != id.purpose);
    others.map(|(_, awaited)| awaited)
}

impl Awaited {
    fn is_failed(&self) -> bool {
        self.outcomes.borrow().as_ref().is_some_and(|outcomes| outcomes[self.place].is_err())
    }

    /// Waits until it is known what becomes of the copy, or the server takes nothing for now. The lane finds out when the server
    /// is silent.
    async fn outcome(mut self, mover: &Mover, operation: &'static str) -> Result<()> {
        tokio::select! {
            biased;
            known = self.outcomes.wait_for(Option::is_some) => match known.as_deref() {
                Ok(Some(outcomes)) => outcomes[self.place].clone(),
                Ok(None) | Err(_) => Err(unanswered(operation)),
            },
            () = self.valve.until(false) => {
                Err(blocked_by(operation, &mover.connection().blocked().unwrap_or_default()))
            }
        }
    }
}

/// Follows what was sent, also when nobody waits for it. That ends when the lane does at the latest.
fn watched(mover: Arc<Mover>, mut sent: Sent) -> Outcomes {
    let (known, outcomes) = watch::channel(None);
    tokio::spawn(async move {
        let answers = loop {
            match mover.answers(&mut sent).await {
                Err(error) if error.kind() == ErrorKind::Blocked => {}
                answers => break answers,
            }
        };
        let all = sent.count();
        // The session may be gone.
        known.send_replace(Some(answers.unwrap_or_else(|error| vec![Err(error); all])));
    });
    outcomes
}

/// The process ends, and nobody follows what was sent.
fn unanswered(operation: &'static str) -> Error {
    error(ErrorKind::Unavailable, operation, "nobody says what became of a copy")
}

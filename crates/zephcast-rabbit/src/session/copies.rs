//! Copies of what a session holds, on their way to other queues: each is sent once, also where nobody waits for its outcome
//! any more.
//!
//! A server that takes nothing for now has what it was sent before: whoever sends that again has it twice once it goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::types::ShortString;
use tokio::runtime::Handle;
use zephcast_core::{ErrorKind, Result, UnitId};

use super::Session;
use crate::error::error;
use crate::mover::{Mover, Sent};
use crate::properties::Outgoing;

/// Of what the session holds: its unit, and the delivery tag.
pub(crate) type CopyOf = (UnitId, u64);

/// Copies that nobody waits for, and what became of them, once that is known.
#[derive(Default)]
pub(super) struct Left(Mutex<HashMap<CopyOf, Option<Result<()>>>>);

impl Left {
    fn known(&self) -> MutexGuard<'_, HashMap<CopyOf, Option<Result<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of a copy; `None` where none was sent, or it was not stored.
    fn outcome(&self, operation: &'static str, of: CopyOf) -> Option<Result<()>> {
        match self.known().get(&of)? {
            Some(Ok(())) => Some(Ok(())),
            Some(Err(_)) => None,
            None => {
                let text = "a copy is on its way, and the server takes nothing for now";
                Some(Err(error(ErrorKind::Blocked, operation, text)))
            }
        }
    }
}

impl Session {
    /// Stores a copy of each of these, in the queue of its routing key: an answer for each. Who gives that up, or hears `Blocked`,
    /// may store the same ones again.
    ///
    /// # Cancel safety
    /// Cancel safe: none is sent twice.
    pub(crate) async fn store(
        &self,
        mover: &Arc<Mover>,
        operation: &'static str,
        copies: Vec<(CopyOf, Outgoing)>,
    ) -> Result<Vec<Result<()>>> {
        self.store_by(mover, operation, &ShortString::default(), copies).await
    }

    /// As [`store`](Self::store), by this exchange.
    pub(crate) async fn store_by(
        &self,
        mover: &Arc<Mover>,
        operation: &'static str,
        exchange: &ShortString,
        copies: Vec<(CopyOf, Outgoing)>,
    ) -> Result<Vec<Result<()>>> {
        let mut answers: Vec<Option<Result<()>>> = Vec::with_capacity(copies.len());
        let (mut new_of, mut new) = (Vec::new(), Vec::new());
        for (of, copy) in copies {
            let outcome = self.left.outcome(operation, of);
            if outcome.is_none() {
                new_of.push(of);
                new.push(copy);
            }
            answers.push(outcome);
        }
        let mut stored = Vec::new().into_iter();
        if !new.is_empty() {
            let sent = Some(mover.send(operation, exchange, new).await?);
            let mut awaited = Awaited { mover, left: &self.left, of: new_of, sent };
            stored = awaited.answers().await?.into_iter();
        }
        Ok(answers.into_iter().filter_map(|known| known.or_else(|| stored.next())).collect())
    }
}

/// Copies that somebody waits for. When this is dropped before their outcome is known, it is noted as soon as it is.
struct Awaited<'a> {
    mover: &'a Arc<Mover>,
    left: &'a Arc<Left>,
    of: Vec<CopyOf>,
    sent: Option<Sent>,
}

impl Awaited<'_> {
    async fn answers(&mut self) -> Result<Vec<Result<()>>> {
        let Some(sent) = &mut self.sent else { return Ok(Vec::new()) };
        let answers = self.mover.answers(sent).await;
        if !answers.as_ref().is_err_and(|error| error.kind() == ErrorKind::Blocked) {
            self.sent = None;
        }
        answers
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let Some(mut sent) = self.sent.take() else { return };
        let of = std::mem::take(&mut self.of);
        self.left.known().extend(of.iter().map(|of| (*of, None)));
        // Without a runtime nobody sends anything again.
        let Ok(runtime) = Handle::try_current() else { return };
        let (mover, left) = (self.mover.clone(), self.left.clone());
        runtime.spawn(async move {
            let answers = loop {
                match mover.answers(&mut sent).await {
                    Err(error) if error.kind() == ErrorKind::Blocked => {}
                    answers => break answers,
                }
            };
            let answers = answers.unwrap_or_else(|error| of.iter().map(|_| Err(error.clone())).collect());
            left.known().extend(of.into_iter().zip(answers.into_iter().map(Some)));
        });
    }
}

//! Suspects: taken one at a time, when nothing else runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zephcast_core::Result;
use zephcast_core::driver::{Batch, Fetched, Incoming};

use super::judging;
use super::{OPERATION, RabbitIntake};
use crate::arrival::incoming;
use crate::config::Topology;
use crate::hints::Hints;
use crate::member::{Member, SUSPECTS, words};
use crate::properties::Notes;
use crate::session::Session;
use crate::suspect::Suspect;
use crate::topology;

/// How often it is asked whether there are suspects.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is asked whether they have a queue by now, where none is made beforehand.
const RARE_LOOK: Duration = Duration::from_secs(30);

/// Whether there are suspects, and whose turn it is.
#[derive(Debug)]
pub(super) struct Lookout {
    /// When to look.
    next: Instant,
    are_there: bool,
    /// Whether others have been handed out since suspects had their turn.
    others_had_turn: bool,
}

impl Default for Lookout {
    /// To look at once.
    fn default() -> Self {
        Self { next: Instant::now(), are_there: false, others_had_turn: true }
    }
}

impl Lookout {
    /// Whether it is time to look, whatever else there is to hand out: a backlog may last for hours.
    pub(super) fn is_due(&self) -> bool {
        self.next <= Instant::now()
    }

    /// When to look next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    fn look_again_in(&mut self, pause: Duration) {
        self.next = Instant::now() + pause;
    }

    /// There are some.
    pub(super) fn found(&mut self) {
        self.are_there = true;
    }

    pub(super) fn handed_out(&mut self) {
        self.others_had_turn = true;
    }

    /// Whether it is the suspects' turn, which they have once.
    pub(super) fn has_turn(&mut self, nothing_else: bool) -> bool {
        let has_turn = self.are_there && (self.others_had_turn || nothing_else);
        if has_turn {
            self.others_had_turn = false;
        }
        has_turn
    }
}

impl RabbitIntake {
    /// Asks whether there are suspects.
    pub(super) async fn look_for_suspects(&mut self, session: &Arc<Session>) -> Result<()> {
        if !self.have_suspects_a_queue(session).await {
            self.lookout.are_there = false;
            self.lookout.look_again_in(RARE_LOOK);
            return Ok(());
        }
        let answer = session.suspects.are_there().await;
        match answer.map_err(|failure| self.member.failed(session, OPERATION, failure)) {
            Ok(are_there) => self.lookout.are_there = are_there,
            // Deleted: the next session makes it again.
            Err(error) if error.kind() == zephcast_core::ErrorKind::NotFound => {
                self.member.brokers.mover.forget(&self.member.names.suspects);
                session.give_up();
            }
            Err(error) => return Err(error),
        }
        self.lookout.look_again_in(LOOK);
        Ok(())
    }

    /// A client that makes no queues beforehand makes this one for the first suspect, and so do the others.
    async fn have_suspects_a_queue(&self, session: &Session) -> bool {
        let Member { brokers, names, .. } = &*self.member;
        if brokers.control.config().topology == Topology::Declare || brokers.mover.knows(&names.suspects) {
            return true;
        }
        let queue = self.unless_needed(session, topology::queue(&brokers.control, OPERATION, &names.suspects)).await;
        let is_there = match queue {
            Some(Ok(queue)) => queue.is_some(),
            Some(Err(error)) => {
                tracing::debug!(%error, "whether there are suspects is not known");
                false
            }
            None => false,
        };
        if is_there {
            brokers.mover.learn(&names.suspects);
        }
        is_there
    }

    /// How many attempts count of a suspect. What this member has to say itself comes first.
    async fn attempts_of(&self, suspect: &Suspect) -> Result<u32> {
        self.member.tell_outlived(OPERATION, words::PATIENCE).await;
        match judging::read_of(&self.member, std::slice::from_ref(suspect)).await {
            Ok(hints) => Ok(suspect.attempts_by(&hints)),
            Err(error) if error.is_retryable() => Err(error),
            // Nor will they be read later.
            Err(error) => {
                tracing::debug!(%error, "what is known of a suspect may not be read");
                Ok(suspect.attempts_by(&Hints::default()))
            }
        }
    }

    /// Takes exactly one, or says that there is none for now. `None` when the session ended.
    pub(super) async fn one_suspect(&mut self, session: &Arc<Session>) -> Result<Option<Fetched>> {
        let answer = session.suspects.next().await;
        let next = match answer.map_err(|failure| self.member.failed(session, OPERATION, failure)) {
            Ok(next) => next,
            Err(error) if error.kind() == zephcast_core::ErrorKind::NotFound => {
                self.member.brokers.mover.forget(&self.member.names.suspects);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some((tag, suspect)) = next else {
            self.lookout.are_there = false;
            return Ok(Some(Fetched::Idle));
        };
        let attempts = match suspect.attempts {
            Some(attempts) => attempts,
            None => tokio::select! {
                biased;
                () = self.member.interrupted.notified() => {
                    session.suspects.put_off(tag);
                    return Ok(Some(Fetched::Idle));
                }
                () = session.link.ended() => return Ok(None),
                attempts = self.attempts_of(&suspect) => attempts.inspect_err(|_| session.suspects.put_off(tag))?,
            },
        };
        // Unless it was given back meanwhile.
        let Some(suspect) = session.suspects.count_attempts(tag, attempts) else { return Ok(None) };
        let Suspect { message, notes, .. } = suspect;
        let notes = Notes { attempts, ..notes };
        let incoming = Incoming { suspect: true, ..incoming(session.token(tag), message, &notes, true) };
        Ok(Some(Fetched::Batch(Batch { unit: SUSPECTS, messages: vec![incoming] })))
    }
}

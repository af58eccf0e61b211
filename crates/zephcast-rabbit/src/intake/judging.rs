//! Messages that were delivered before: who comes from a member that lived, and who may have killed one.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zephcast_core::{Error, ErrorKind, Result};

use super::{OPERATION, RabbitIntake};
use crate::arrival::Arrival;
use crate::clock::now_ms;
use crate::errand::Errand;
use crate::error::{code, error};
use crate::hints::Hints;
use crate::member::{Member, UNIT};
use crate::properties;
use crate::session::{CopyId, Purpose, Session};
use crate::suspect::Suspect;
use crate::topology;

/// How long a member that lived is given to say so, after its messages came here.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// How long at most others are waited for that read the hints.
const OTHERS: Duration = Duration::from_secs(4);
/// How long at most they are given before the first try again, and later on.
const PAUSES: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(320);

impl RabbitIntake {
    /// Decides on everything in doubt, as far as the server takes messages; `false` when it was interrupted.
    pub(super) async fn judge(&mut self, session: &Arc<Session>) -> Result<bool> {
        let until = *self.in_doubt_since.get_or_insert_with(Instant::now) + PATIENCE;
        // Where others read them all the while, what was read before holds.
        let mut known = Hints::default();
        loop {
            let hints = tokio::select! {
                biased;
                () = self.member.interrupted.notified() => return Ok(false),
                () = session.link.ended() => return Ok(true),
                hints = read(&self.member) => hints?,
            };
            known = hints.unwrap_or(known);
            let doubtful = session.inbox.doubtful(|arrival| acquit(session, arrival, &known));
            if doubtful.is_empty() {
                break;
            }
            if Instant::now() >= until {
                if self.blockage.is_there() {
                    return Ok(true);
                }
                let moved = self.move_suspects(session, doubtful, &known).await;
                self.unless_blocked(moved)?;
                break;
            }
            tokio::select! {
                biased;
                () = self.member.interrupted.notified() => return Ok(false),
                () = session.link.ended() => return Ok(true),
                () = tokio::time::sleep_until(until) => {}
            }
            session.look();
        }
        self.in_doubt_since = None;
        Ok(true)
    }

    /// Puts what is still in doubt where it is tried one by one, and counted.
    async fn move_suspects(&mut self, session: &Session, doubtful: Vec<Arrival>, hints: &Hints) -> Result<()> {
        let member = self.member.clone();
        let most = member.brokers.mover.most_properties(OPERATION).await?;
        let (mut copies, mut moved) = (Vec::new(), Vec::new());
        for arrival in doubtful {
            let mut notes = arrival.notes_for_copy(session.token(arrival.tag));
            notes.attempts = hints.attempts(arrival.mark).unwrap_or(0).max(notes.attempts);
            let original = session.held().get(arrival.tag).and_then(|held| held.original.clone());
            match properties::encode_copy(&arrival.message, original.as_deref(), &notes, most) {
                Ok(mut copy) => {
                    copy.routing_key = member.names.suspects.as_str().into();
                    copies.push((CopyId { unit: UNIT, tag: arrival.tag, purpose: Purpose::Suspect }, copy));
                    moved.push((arrival.tag, notes.attempts));
                }
                Err(error) => acquit_for_good(session, arrival.tag, notes.attempts, &error),
            }
        }
        tracing::debug!(count = moved.len(), stream = %member.names.stream, "suspects are moved");
        member.ensure(OPERATION, &BTreeSet::from([member.names.suspects.clone()])).await?;
        let stored = session.store(&member.brokers.mover, OPERATION, copies).await;
        let mut failure = None;
        for ((tag, attempts), stored) in moved.into_iter().zip(stored) {
            match stored {
                Ok(()) => {
                    session.inbox.remove(tag);
                    session.ack(tag).await;
                    self.lookout.found();
                }
                Err(error) if error.kind() == ErrorKind::TooLarge => acquit_for_good(session, tag, attempts, &error),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// Whoever is said to come from a member that lived is in doubt no longer.
fn acquit(session: &Session, arrival: &mut Arrival, hints: &Hints) {
    let innocent = hints.innocent(arrival.mark, arrival.count);
    let Some(attempts) = innocent.or_else(|| hints.pardoned(arrival.mark, arrival.count)) else { return };
    // What it carries itself was counted before it came into this queue, of which alone the hints know.
    let attempts = attempts.max(arrival.notes.attempts);
    arrival.is_doubtful = false;
    arrival.notes.attempts = attempts;
    if let Some(held) = session.held().get_mut(arrival.tag) {
        held.attempts = attempts;
        held.is_doubtful = false;
    }
}

/// It cannot be moved, as it is too large, and must not be kept from its group. So many attempts count of it.
fn acquit_for_good(session: &Session, tag: u64, attempts: u32, error: &Error) {
    tracing::warn!(%error, "a suspect cannot be tried apart from others");
    session.inbox.acquit(tag, attempts);
    if let Some(held) = session.held().get_mut(tag) {
        held.attempts = attempts;
        held.is_doubtful = false;
    }
}

/// What is known of suspects. Whoever has one from a member that lived may be faster than its word.
///
/// # Errors
/// `Unavailable` when others read the hints all the while: they may have the word of one.
pub(crate) async fn read_of(member: &Member, suspects: &[Suspect]) -> Result<Hints> {
    let read = async || {
        let others = || error(ErrorKind::Unavailable, OPERATION, "other members read the hints all the while");
        read(member).await?.ok_or_else(others)
    };
    let hints = read().await?;
    if suspects.iter().all(|suspect| suspect.has_word(&hints)) {
        return Ok(hints);
    }
    tokio::time::sleep(PATIENCE).await;
    read().await
}

/// Reads all that is written down, and leaves it where it is; `None` when others read it all the while.
async fn read(member: &Member) -> Result<Option<Hints>> {
    let until = Instant::now() + OTHERS;
    let mut longest = *PAUSES.start();
    loop {
        let hints = read_alone(member).await?;
        if hints.is_some() || Instant::now() >= until {
            return Ok(hints);
        }
        tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
        longest = (longest * 2).min(*PAUSES.end());
    }
}

/// As [`read`], or `None` when others read at the same time: each of them has a part of it then. Whoever sees one before it
/// begins lets that one read on.
async fn read_alone(member: &Member) -> Result<Option<Hints>> {
    let mut hints = Hints::default();
    let mut errand = Errand::begin(&member.brokers.control, OPERATION).await?;
    let queue = member.names.hints.as_str();
    let look = async |errand: &Errand<'_>| match topology::figures(errand, queue).await {
        Ok(figures) => Ok(Some(figures)),
        // Hints whose server is away are lost for now.
        Err(failure) if failure.has_code(code::NOT_FOUND) => Ok(None),
        Err(failure) => Err(errand.failed(failure)),
    };
    match look(&errand).await? {
        None | Some((0, 0)) => return Ok(Some(hints)),
        Some((_, 0)) => {}
        Some(_) => return Ok(None),
    }
    match errand.read(queue).await {
        // It was deleted meanwhile.
        Err(failure) if failure.has_code(code::NOT_FOUND) => return Ok(None),
        begun => begun.map_err(|failure| errand.failed(failure))?,
    }
    // A queue without messages has sent all that it had, which is here when the server answers once more.
    let mut is_all = false;
    loop {
        // Deleted under its reader: the channel, which is over, brings nothing more.
        let Some((messages, consumers)) = look(&errand).await? else { return Ok(Some(hints)) };
        while let Some(delivery) = errand.next_read().await {
            if let Err(error) = hints.read(&delivery?.data, now_ms()) {
                tracing::debug!(%error, "a hint was passed over");
            }
        }
        if is_all {
            break;
        }
        // None where the queue was deleted and made again.
        if consumers != 1 {
            errand.end().await?;
            return Ok(None);
        }
        is_all = messages == 0;
    }
    // What was read is with others again then.
    errand.end().await?;
    Ok(Some(hints))
}

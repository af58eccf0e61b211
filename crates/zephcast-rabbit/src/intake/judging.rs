//! Messages that were delivered before: who comes from a member that lived, and who may have killed one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::time::Instant;
use zephcast_core::Result;

use super::{OPERATION, RabbitIntake};
use crate::arrival::Arrival;
use crate::clock::now_ms;
use crate::errand::Errand;
use crate::error::code;
use crate::hints::Hints;
use crate::member::Member;
use crate::properties;
use crate::session::Session;

/// How long a member that lived is given to say so, after its messages came here.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// The most messages with hints that are read at a time.
const MOST_HINTS: usize = 10_000;

impl RabbitIntake {
    /// Decides on everything in doubt; `false` when it was interrupted.
    pub(super) async fn judge(&mut self, session: &Arc<Session>) -> Result<bool> {
        let until = *self.in_doubt_since.get_or_insert_with(Instant::now) + PATIENCE;
        loop {
            let hints = read(&self.member).await?;
            let doubtful = session.inbox.doubtful(|arrival| acquit(session, arrival, &hints));
            if doubtful.is_empty() {
                break;
            }
            if Instant::now() >= until {
                self.move_suspects(session, doubtful, &hints).await?;
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
        let (mut copies, mut tags) = (Vec::new(), Vec::new());
        for arrival in doubtful {
            let mut notes = arrival.notes_for_copy(session.token(arrival.tag));
            notes.attempts = hints.attempts(arrival.mark).unwrap_or(0).max(notes.attempts);
            let original = session.held().get(arrival.tag).and_then(|held| held.original.clone());
            match properties::encode_copy(&arrival.message, original.as_deref(), &notes, most) {
                Ok(mut copy) => {
                    copy.routing_key = member.names.suspects.as_str().into();
                    copies.push(copy);
                    tags.push(arrival.tag);
                }
                // It cannot be moved, and must not be kept from its group.
                Err(error) => {
                    tracing::warn!(%error, "a suspect cannot be tried apart from others");
                    session.inbox.acquit(arrival.tag);
                }
            }
        }
        tracing::debug!(count = tags.len(), stream = %member.names.stream, "suspects are moved");
        member.ensure(OPERATION, &BTreeSet::from([member.names.suspects.clone()])).await?;
        let stored = member.brokers.mover.store(OPERATION, copies).await?;
        let mut failure = None;
        for (tag, stored) in tags.into_iter().zip(stored) {
            match stored {
                Ok(()) => {
                    session.inbox.remove(tag);
                    session.ack(tag).await;
                    self.lookout.found();
                }
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
    arrival.is_doubtful = false;
    arrival.notes.attempts = attempts;
    if let Some(held) = session.held().get_mut(arrival.tag) {
        held.attempts = attempts;
    }
}

/// Reads what is written down, and leaves it where it is.
pub(super) async fn read(member: &Member) -> Result<Hints> {
    let mut hints = Hints::default();
    let errand = Errand::begin(&member.brokers.control, OPERATION).await?;
    let queue = || member.names.hints.as_str().into();
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match errand.try_call(errand.channel().queue_declare(queue(), options, FieldTable::default())).await {
        Ok(_) => {}
        Err(failure) if failure.has_code(code::NOT_FOUND) => return Ok(hints),
        Err(failure) => return Err(errand.failed(failure)),
    }
    for _ in 0..MOST_HINTS {
        let got = errand.call(errand.channel().basic_get(queue(), BasicGetOptions::default())).await?;
        let Some(got) = got else { break };
        if let Err(error) = hints.read(&got.delivery.data, now_ms()) {
            tracing::debug!(%error, "a hint was passed over");
        }
    }
    // What was read is with others again then.
    errand.end().await?;
    Ok(hints)
}

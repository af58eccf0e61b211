//! A suspect in hand.

use tokio::time::Instant;
use zephcast_core::{Message, Result};

use crate::member::Member;
use crate::properties::{self, Notes, Original};
use crate::session::Session;

const OPERATION: &str = "give a suspect back";

/// A suspect, as long as it is not settled: the broker counts each delivery, also one of which nothing came, so that it
/// goes back as a copy.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) message: Message,
    /// How many attempts counted when it was fetched, among others.
    pub(crate) notes: Notes,
    pub(crate) original: Option<Box<Original>>,
    /// When it was fetched.
    pub(crate) since: Instant,
}

/// Gives a suspect back of which so many attempts count now, if the engine ever saw it: to the suspects when nobody tried
/// it, with the count that it had; else it has not killed, and is one of the group's messages again.
pub(crate) async fn give_back(member: &Member, session: &Session, tag: u64, attempts: Option<u32>) -> Result<()> {
    let Some(suspect) = session.suspects_held().get(&tag).cloned() else { return Ok(()) };
    let was_tried = attempts.is_some_and(|attempts| attempts > suspect.notes.attempts);
    let queue = if was_tried { &member.names.queue } else { &member.names.suspects };
    let mut notes = suspect.notes;
    if let Some(attempts) = attempts {
        notes.attempts = attempts.max(notes.attempts);
    }
    let most = member.brokers.mover.most_properties(OPERATION).await?;
    let mut copy = properties::encode_copy(&suspect.message, suspect.original.as_deref(), &notes, most)?;
    copy.routing_key = queue.as_str().into();
    member.brokers.mover.store(OPERATION, vec![copy]).await?.into_iter().collect::<Result<()>>()?;
    session.suspects_held().remove(&tag);
    session.ack_suspect(tag).await;
    Ok(())
}

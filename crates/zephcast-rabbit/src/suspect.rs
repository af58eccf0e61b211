//! A suspect in hand.

use lapin::message::Delivery;
use tokio::time::Instant;
use zephcast_core::{Message, Result};

use crate::hints::{Hint, Mark};
use crate::member::Member;
use crate::properties::{self, Decoded, Notes, Original};
use crate::session::Session;

const OPERATION: &str = "give a suspect back";

/// A suspect, as long as it is not settled: the broker counts each delivery, also one of which nothing came, so that it
/// goes back as a copy.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) message: Message,
    pub(crate) mark: Mark,
    /// How often the broker had delivered it before; `None` where it does not count.
    pub(crate) count: Option<u64>,
    /// How many attempts counted when it was fetched, among others.
    pub(crate) notes: Notes,
    pub(crate) original: Option<Box<Original>>,
    /// When it was fetched.
    pub(crate) since: Instant,
}

impl Suspect {
    /// Of a delivery from the queue of suspects. Each time that it was fetched before is taken for an attempt of which its
    /// member died, as long as nothing else is known.
    pub(crate) fn new(delivery: Delivery, own_prefix: &str) -> Self {
        let count = properties::delivery_count(&delivery.properties).or((!delivery.redelivered).then_some(0));
        let Decoded { message, mut notes, original } =
            properties::decode(delivery.data.into(), "", delivery.properties, own_prefix);
        let id = message.id().map(|id| id.as_bytes().as_ref());
        let mark = Mark::of(id, message.payload(), notes.attempts).as_suspect();
        let deaths = u32::try_from(count.unwrap_or(0)).unwrap_or(u32::MAX);
        notes.attempts = notes.attempts.saturating_add(deaths);
        Self { message, mark, count, notes, original, since: Instant::now() }
    }

    /// What can be said of it when it comes again from a member that lives; nothing where the broker does not count.
    pub(crate) fn hint(&self) -> Option<Hint> {
        Some(Hint { mark: self.mark, count: self.count? + 1, attempts: self.notes.attempts, is_innocent: true })
    }
}

/// Gives a suspect back of which so many attempts count now, if the engine ever saw it: to the suspects when nobody tried
/// it, with the count that it had; else it has not killed, and is one of the group's messages again.
pub(crate) async fn give_back(member: &Member, session: &Session, tag: u64, attempts: Option<u32>) -> Result<()> {
    // Nobody else settles it meanwhile.
    let Some(suspect) = session.suspects.let_go(tag) else { return Ok(()) };
    match send_back(member, &suspect, attempts).await {
        Ok(()) => {
            session.suspects.ack(tag).await;
            Ok(())
        }
        Err(error) => {
            session.suspects.keep(tag, suspect);
            Err(error)
        }
    }
}

async fn send_back(member: &Member, suspect: &Suspect, attempts: Option<u32>) -> Result<()> {
    let was_tried = attempts.is_some_and(|attempts| attempts > suspect.notes.attempts);
    let queue = if was_tried { &member.names.queue } else { &member.names.suspects };
    let mut notes = suspect.notes.clone();
    if let Some(attempts) = attempts {
        notes.attempts = attempts.max(notes.attempts);
    }
    let most = member.brokers.mover.most_properties(OPERATION).await?;
    let mut copy = properties::encode_copy(&suspect.message, suspect.original.as_deref(), &notes, most)?;
    copy.routing_key = queue.as_str().into();
    member.brokers.mover.store(OPERATION, vec![copy]).await?.into_iter().collect()
}

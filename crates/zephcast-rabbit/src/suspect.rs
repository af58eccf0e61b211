//! A suspect in hand.

use lapin::message::Delivery;
use tokio::time::Instant;
use zephcast_core::{Message, Result};

use crate::hints::{Hint, Hints, Mark};
use crate::intake::judging;
use crate::member::Member;
use crate::properties::{self, Decoded, Notes, Original};
use crate::session::{GoingBack, Purpose, Session};

const OPERATION: &str = "give a suspect back";

/// A suspect, as long as it is not settled: the broker counts each delivery, also one of which nothing came, so that it
/// goes back as a copy.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) message: Message,
    pub(crate) mark: Mark,
    /// How often the broker had delivered it before; `None` where it does not count.
    pub(crate) count: Option<u64>,
    /// What it carries.
    pub(crate) notes: Notes,
    /// How many attempts counted when it came, once that is known.
    pub(crate) attempts: Option<u32>,
    /// How many count since one failed here.
    failed: Option<u32>,
    pub(crate) original: Option<Box<Original>>,
    /// When it was fetched.
    pub(crate) since: Instant,
    /// Whether a copy of it is being stored, so that nobody else settles it.
    pub(crate) is_going_back: bool,
}

impl Suspect {
    /// Of a delivery from the queue of suspects.
    pub(crate) fn new(delivery: Delivery, own_prefix: &str) -> Self {
        let count = properties::delivery_count(&delivery.properties).or((!delivery.redelivered).then_some(0));
        let Decoded { message, notes, original } =
            properties::decode(delivery.data.into(), "", delivery.properties, own_prefix);
        let id = message.id().map(|id| id.as_bytes().as_ref());
        let mark = Mark::of(id, message.payload(), notes.copied_ms).as_suspect();
        // Nobody can have died of it in this queue.
        let attempts = (count.unwrap_or(0) == 0).then_some(notes.attempts);
        Self {
            message,
            mark,
            count,
            notes,
            attempts,
            failed: None,
            original,
            since: Instant::now(),
            is_going_back: false,
        }
    }

    /// How many attempts count by what members that lived said. Each time that it was fetched after that, or ever if none of
    /// them said anything, is taken for an attempt of which its member died.
    pub(crate) fn attempts_by(&self, hints: &Hints) -> u32 {
        let count = self.count.unwrap_or(0);
        hints.of_suspect(self.mark, count).unwrap_or_else(|| {
            let deaths = u32::try_from(count).unwrap_or(u32::MAX);
            self.notes.attempts.saturating_add(deaths)
        })
    }

    /// Whether it is known how many attempts count.
    pub(crate) fn is_judged(&self) -> bool {
        self.failed.or(self.attempts).is_some()
    }

    /// Whether a member that lived had it last, by what those said.
    pub(crate) fn has_word(&self, hints: &Hints) -> bool {
        hints.innocent(self.mark, self.count.or(Some(0))).is_some()
    }

    /// What can be said of it when it comes again from a member that lives; nothing where the broker does not count, or as long as
    /// nobody looked how many attempts count.
    pub(crate) fn hint(&self) -> Option<Hint> {
        self.when_again(self.failed.or(self.attempts)?)
    }

    /// The same of one that nobody tried here, by what members that lived said; nothing where one of them had it later.
    pub(crate) fn hint_by(&self, hints: &Hints) -> Option<Hint> {
        let came_again = hints.count(self.mark) > self.count;
        if came_again { None } else { self.when_again(self.attempts_by(hints)) }
    }

    fn when_again(&self, attempts: u32) -> Option<Hint> {
        Some(Hint { mark: self.mark, count: self.count? + 1, attempts, is_innocent: true })
    }

    /// One failed here, so that so many attempts count: what is said of it in case that its member dies of the next one, which
    /// counts as well.
    pub(crate) fn fail(&mut self, attempts: u32) -> Option<Hint> {
        self.failed = Some(attempts);
        Some(Hint { mark: self.mark, count: self.count?, attempts, is_innocent: true })
    }
}

/// Gives a suspect back of which so many attempts count now, if the engine ever saw it: to the suspects when nobody tried
/// it, with the count that it had; else it has not killed, and is one of the group's messages again.
pub(crate) async fn give_back(member: &Member, session: &Session, tag: u64, attempts: Option<u32>) -> Result<()> {
    let Some(going) = session.suspects.send_back(tag) else { return Ok(()) };
    store(member, session, &going, attempts).await?;
    going.done().await;
    Ok(())
}

async fn store(member: &Member, session: &Session, going: &GoingBack<'_>, attempts: Option<u32>) -> Result<()> {
    let suspect = &going.suspect;
    let before = match suspect.attempts {
        Some(attempts) => attempts,
        None => suspect.attempts_by(&judging::read_of(member, std::slice::from_ref(suspect)).await?),
    };
    let was_tried = attempts.is_some_and(|attempts| attempts > before);
    let attempts = attempts.max(suspect.failed).unwrap_or(before).max(before);
    let queue = if was_tried { &member.names.queue } else { &member.names.suspects };
    let notes = Notes { attempts, ..suspect.notes.clone() }.copied();
    let most = member.brokers.mover.most_properties(OPERATION).await?;
    let mut copy = properties::encode_copy(&suspect.message, suspect.original.as_deref(), &notes, most)?;
    copy.routing_key = queue.as_str().into();
    session
        .store(&member.brokers.mover, OPERATION, vec![(going.copy(Purpose::Return), copy)])
        .await
        .into_iter()
        .collect()
}

//! Everything that is not an ack: first the copy is confirmed, then the original is settled. A death in between makes a
//! second copy, never none.

use std::collections::BTreeSet;

use zephcast_core::driver::Disposition;
use zephcast_core::{Message, Result, UnitId};

use super::{OPERATION, RabbitSettler};
use crate::clock::now_ms;
use crate::hints::Hint;
use crate::member::{SUSPECTS, UNIT};
use crate::names::Delay;
use crate::native::DeadLetterExchange;
use crate::properties::{self, Notes, Original, Outgoing};
use crate::session::{CopyId, GoingBack, Purpose, Session};
use crate::suspect;

/// How long a message may be delayed at most: ten years, so that its due time is a time.
const LONGEST_MS: u64 = 315_360_000_000;

impl RabbitSettler {
    /// Settles what is this session's, by delivery tag.
    pub(super) async fn settle_others(
        &self,
        session: &Session,
        unit: UnitId,
        others: &[(u64, &Disposition)],
    ) -> Result<()> {
        let (mut copies, mut moved, mut hints) = (Vec::new(), Vec::new(), Vec::new());
        let (mut given_back, mut rejected) = (Vec::new(), Vec::new());
        let native = self.member.dead_letters();
        let mut queues = BTreeSet::new();
        // What an earlier call with the same settlements brought through is held no longer, and must not be copied again.
        for (tag, disposition) in others.iter().filter(|(tag, _)| is_held(session, unit, *tag)) {
            match disposition {
                Disposition::Keep { attempts } if unit == SUSPECTS => {
                    hints.extend(session.suspects.fail(*tag, *attempts));
                }
                Disposition::Keep { attempts } => hints.extend(kept(session, *tag, *attempts)),
                Disposition::Return { attempts } if unit == SUSPECTS => {
                    suspect::give_back(&self.member, session, *tag, Some(*attempts)).await?;
                }
                Disposition::Return { attempts } => {
                    let hint = kept(session, *tag, *attempts);
                    hints.extend(hint.map(Hint::innocent));
                    given_back.push(*tag);
                }
                Disposition::Dead { .. } if native.is_some() && unit != SUSPECTS => {
                    rejected.push(*tag);
                }
                Disposition::Later { .. } | Disposition::Dead { .. } => {
                    let Some(leaving) = Leaving::begin(session, unit, *tag) else { continue };
                    let copy = self.copy(disposition, leaving.original().as_deref()).await?;
                    if let (Disposition::Dead { .. }, Some(exchange)) = (disposition, &native) {
                        self.give_up_suspect(session, leaving, copy, exchange).await?;
                        continue;
                    }
                    queues.insert(copy.routing_key.as_str().to_owned());
                    let is_dead = matches!(disposition, Disposition::Dead { .. });
                    let purpose = if is_dead { Purpose::DeadLetter } else { Purpose::Retry };
                    copies.push((leaving.copy(purpose), copy));
                    moved.push((leaving, is_dead));
                }
            }
        }
        self.member.write_hints(OPERATION, &hints).await;
        for tag in given_back {
            session.give_back(tag).await;
        }
        self.member.note_settled(rejected.len());
        for tag in rejected {
            session.reject(tag).await;
        }
        if copies.is_empty() {
            return Ok(());
        }
        self.member.ensure(OPERATION, &queues).await?;
        let stored = session.store(&self.member.brokers.mover, OPERATION, copies).await;
        let mut failure = None;
        for ((leaving, is_dead), stored) in moved.into_iter().zip(stored) {
            match stored {
                Ok(()) => {
                    leaving.done().await;
                    self.member.note_settled(usize::from(is_dead));
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Sends a suspect where its queue sends what it gives up: in the queue of suspects nobody rejects it for that.
    async fn give_up_suspect(
        &self,
        session: &Session,
        suspect: Leaving<'_>,
        mut copy: Outgoing,
        exchange: &DeadLetterExchange,
    ) -> Result<()> {
        let DeadLetterExchange { name, routing_key } = exchange;
        copy.routing_key = routing_key.clone().unwrap_or_else(|| self.member.names.queue.as_str().into());
        let copies = vec![(suspect.copy(Purpose::DeadLetter), copy)];
        let stored = session.store_by(&self.member.brokers.mover, OPERATION, name, copies).await;
        stored.into_iter().collect::<Result<()>>()?;
        suspect.done().await;
        self.member.note_settled(1);
        Ok(())
    }

    async fn copy(&self, disposition: &Disposition, original: Option<&Original>) -> Result<Outgoing> {
        let names = &self.member.names;
        match disposition {
            Disposition::Later { delay, attempts, message, origin, published_ms, first_failed_ms } => {
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(LONGEST_MS).min(LONGEST_MS);
                let notes = Notes {
                    attempts: *attempts,
                    origin: Some(origin.token),
                    published_ms: *published_ms,
                    first_failed_ms: *first_failed_ms,
                    due_ms: Some(now_ms() + delay_ms),
                    ..Notes::default()
                }
                .copied();
                let mut copy = self.encode(message, original, &notes).await?;
                copy.delay(names, Delay::of(*delay), *delay);
                Ok(copy)
            }
            Disposition::Dead { message, origin, published_ms, attempts, failure } => {
                let notes = Notes {
                    attempts: *attempts,
                    origin: Some(origin.token),
                    published_ms: *published_ms,
                    first_failed_ms: Some(failure.first_failed_ms),
                    last_failed_ms: Some(failure.last_failed_ms),
                    reason: Some(failure.reason.clone()),
                    origin_text: Some(format!("{}@{origin}", names.stream)),
                    ..Notes::default()
                };
                let mut copy = self.encode(message, original, &notes).await?;
                copy.routing_key = names.dead.as_str().into();
                Ok(copy)
            }
            Disposition::Keep { .. } | Disposition::Return { .. } => {
                unreachable!("stays in its queue")
            }
        }
    }

    async fn encode(&self, message: &Message, original: Option<&Original>, notes: &Notes) -> Result<Outgoing> {
        let most = self.member.brokers.mover.most_properties(OPERATION).await?;
        properties::encode_copy(message, original, notes, most)
    }
}

/// A word about a message that stays: so many attempts count.
fn kept(session: &Session, tag: u64, attempts: u32) -> Option<Hint> {
    let mut held = session.held();
    let held = held.get_mut(tag)?;
    held.attempts = attempts;
    held.hint()
}

fn is_held(session: &Session, unit: UnitId, tag: u64) -> bool {
    match unit {
        SUSPECTS => session.suspects.is_open(tag),
        _ => session.held().get(tag).is_some(),
    }
}

/// What is in hand until its copy is stored.
enum Leaving<'a> {
    Message(&'a Session, u64),
    /// Nobody else sends it anywhere meanwhile.
    Suspect(Box<GoingBack<'a>>),
}

impl<'a> Leaving<'a> {
    /// Of what is in hand, and not on its way already.
    fn begin(session: &'a Session, unit: UnitId, tag: u64) -> Option<Self> {
        match unit {
            SUSPECTS => session.suspects.send_back(tag).map(Box::new).map(Self::Suspect),
            _ => Some(Self::Message(session, tag)),
        }
    }

    /// Its copy for a purpose.
    fn copy(&self, purpose: Purpose) -> CopyId {
        match self {
            Self::Message(_, tag) => CopyId { unit: UNIT, tag: *tag, purpose },
            Self::Suspect(going) => going.copy(purpose),
        }
    }

    fn original(&self) -> Option<Box<Original>> {
        match self {
            Self::Message(session, tag) => session.held().get(*tag).and_then(|held| held.original.clone()),
            Self::Suspect(going) => going.suspect.original.clone(),
        }
    }

    /// Its copy is where it has to be.
    async fn done(self) {
        match self {
            Self::Message(session, tag) => {
                session.ack(tag).await;
            }
            Self::Suspect(going) => going.done().await,
        }
    }
}

/// It is done with: whether it was in hand.
pub(super) async fn settled(session: &Session, unit: UnitId, tag: u64) -> bool {
    match unit {
        SUSPECTS => session.suspects.ack(tag).await,
        _ => session.ack(tag).await,
    }
}

//! Sending dead letters back: many in one look at their queue.

use std::collections::{HashMap, VecDeque};

use lapin::message::Delivery;
use zephcast_core::driver::Redrive;
use zephcast_core::{Position, Result, Token};

use super::{Look, OPERATION, token};
use crate::brokers::Brokers;
use crate::names::Names;
use crate::native;
use crate::properties::{self, Decoded, Notes, Outgoing};
use crate::status::existing;

/// So many are on their way to the group at a time, and settled then. A channel of the server holds acks back while 32
/// are under way to a quorum queue (`quorum_commands_soft_limit`), and forgets those when it is closed. What is taken next
/// shows that all acks before it have arrived.
const MANY: usize = 16;

/// So many bytes are on their way to the group at a time.
const LARGE: usize = 1024 * 1024;

/// Sends dead letters back to their group alone: an answer for each.
pub(crate) async fn redrive(brokers: &Brokers, names: &Names, at: &[Position]) -> Vec<Result<Redrive>> {
    let mut batch = Batch::new(brokers, names, at);
    let ended = batch.run().await;
    let rest = || ended.clone().map(|()| Redrive::Gone);
    batch.answers.into_iter().map(|answer| answer.unwrap_or_else(rest)).collect()
}

struct Batch<'a> {
    brokers: &'a Brokers,
    names: &'a Names,
    /// The places in `answers` of those that were not found yet; letters that are alike have the same token.
    wanted: HashMap<Token, VecDeque<usize>>,
    /// `None` until something became of it.
    answers: Vec<Option<Result<Redrive>>>,
}

/// A dead letter that was taken and not settled.
struct Found {
    place: usize,
    tag: u64,
    delivery: Delivery,
}

impl<'a> Batch<'a> {
    fn new(brokers: &'a Brokers, names: &'a Names, at: &[Position]) -> Self {
        let mut wanted: HashMap<Token, VecDeque<usize>> = HashMap::new();
        for (place, position) in at.iter().enumerate() {
            wanted.entry(position.token).or_default().push_back(place);
        }
        Self { brokers, names, wanted, answers: at.iter().map(|_| None).collect() }
    }

    /// Answers for what is there.
    ///
    /// # Errors
    /// What all others fail with.
    async fn run(&mut self) -> Result<()> {
        native::refuse(self.brokers, OPERATION)?;
        let mut look = Look::open(self.brokers, self.names).await?;
        let found = self.find(&mut look).await;
        if let Err(error) = found.and(look.close().await) {
            // They are with their group, and whether they are dead letters still is not known.
            self.answers.iter_mut().flatten().filter(|answer| answer.is_ok()).for_each(|answer| {
                *answer = Err(error.clone());
            });
            return Err(error);
        }
        if self.answers.iter().any(Option::is_none) {
            // Gone, or nothing of the kind.
            existing(self.brokers, OPERATION, self.names).await?;
        }
        Ok(())
    }

    async fn find(&mut self, look: &mut Look<'_>) -> Result<()> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        while !self.wanted.is_empty() {
            let Some((delivery, tag)) = look.next().await? else { break };
            let Some(place) = self.place_of(token(self.names, &delivery)) else { continue };
            bytes += delivery.data.len();
            found.push(Found { place, tag, delivery });
            if found.len() >= MANY || bytes >= LARGE {
                self.send_back(look, std::mem::take(&mut found)).await?;
                bytes = 0;
            }
        }
        self.send_back(look, found).await
    }

    fn place_of(&mut self, token: Token) -> Option<usize> {
        let places = self.wanted.get_mut(&token)?;
        let place = places.pop_front();
        if places.is_empty() {
            self.wanted.remove(&token);
        }
        place
    }

    /// Publishes them in the order in which they were asked for, and settles those that are stored.
    async fn send_back(&mut self, look: &mut Look<'_>, mut found: Vec<Found>) -> Result<()> {
        found.sort_by_key(|found| found.place);
        let most = self.brokers.mover.most_properties(OPERATION).await?;
        let (mut copies, mut sent) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for Found { place, tag, delivery } in found {
            match copy(self.names, delivery, most) {
                Ok(copy) => {
                    copies.push(copy);
                    sent.push((place, tag));
                }
                Err(error) => self.answers[place] = Some(Err(error)),
            }
        }
        let stored = match self.brokers.mover.store(OPERATION, copies).await {
            Ok(stored) => stored,
            Err(error) => sent.iter().map(|_| Err(error.clone())).collect(),
        };
        for ((place, tag), stored) in sent.into_iter().zip(stored) {
            let answer = match stored {
                // Only now that it is with its group again: rather twice than never.
                Ok(()) => look.settle(tag).await.map(|()| Redrive::Redriven),
                Err(error) => Err(error),
            };
            self.answers[place] = Some(answer);
        }
        Ok(())
    }
}

/// A dead letter for its group's queue alone, as it came there first.
fn copy(names: &Names, delivery: Delivery, most: usize) -> Result<Outgoing> {
    let key = delivery.routing_key;
    let Decoded { message, notes, original } =
        properties::decode(delivery.data.into(), key.as_str(), delivery.properties, &names.prefix());
    let notes = Notes { origin: notes.origin, published_ms: notes.published_ms, ..Notes::default() };
    let mut copy = properties::encode_copy(&message, original.as_deref(), &notes, most)?;
    copy.routing_key = names.queue.as_str().into();
    Ok(copy)
}

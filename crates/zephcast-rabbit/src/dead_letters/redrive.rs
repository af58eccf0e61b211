//! Sending dead letters back: many in one look at their queue.

use std::collections::{HashMap, VecDeque};

use zephcast_core::driver::Redrive;
use zephcast_core::{Position, Result, Token};

use super::OPERATION;
use super::letter::Letter;
use super::look::{Look, Taken};
use super::place;
use crate::brokers::Brokers;
use crate::names::Names;
use crate::native;
use crate::status::existing;

/// So many are sent back by one call: a person who wants to stop it does not wait for much longer than that takes.
const MOST: usize = 2_000;

/// So many are on their way to the group at a time, and settled then.
const MANY: usize = 250;

/// So many bytes are on their way to the group at a time.
const LARGE: usize = 1024 * 1024;

/// Sends dead letters back to their group alone, as many as one look does: an answer for each.
pub(crate) async fn redrive(brokers: &Brokers, names: &Names, at: &[Position]) -> Vec<Result<Redrive>> {
    let mut batch = Batch::new(brokers, names, &at[..at.len().min(MOST)]);
    let ended = batch.run().await;
    let rest = || ended.clone().map(|()| Redrive::Gone);
    batch.answers.into_iter().map(|answer| answer.unwrap_or_else(rest)).collect()
}

struct Batch<'a> {
    brokers: &'a Brokers,
    names: &'a Names,
    /// The places in `answers` of those that were not found yet, by their kind: any letter of it will do for each.
    wanted: HashMap<Token, VecDeque<usize>>,
    /// How many these are.
    left: usize,
    /// `None` until something became of it.
    answers: Vec<Option<Result<Redrive>>>,
}

/// A dead letter that was taken and not settled.
struct Found {
    place: usize,
    taken: Taken,
    letter: Letter,
}

impl<'a> Batch<'a> {
    fn new(brokers: &'a Brokers, names: &'a Names, at: &[Position]) -> Self {
        let mut wanted: HashMap<Token, VecDeque<usize>> = HashMap::new();
        for (place, position) in at.iter().enumerate() {
            wanted.entry(place::kind_of(position.token)).or_default().push_back(place);
        }
        Self { brokers, names, wanted, left: at.len(), answers: at.iter().map(|_| None).collect() }
    }

    /// Answers for what is there.
    ///
    /// # Errors
    /// What all others fail with.
    async fn run(&mut self) -> Result<()> {
        native::refuse(self.brokers, OPERATION)?;
        let mut look = Look::open(self.brokers, self.names);
        let found = self.find(&mut look).await;
        // What has an answer is with its group, whether or not it is a dead letter still.
        found.and(look.close().await)?;
        if self.answers.iter().any(Option::is_none) {
            // Gone, or nothing of the kind.
            existing(self.brokers, OPERATION, self.names).await?;
        }
        Ok(())
    }

    async fn find(&mut self, look: &mut Look<'_>) -> Result<()> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        while !self.wanted.is_empty() {
            let Some(delivery) = look.next_of(self.left).await? else { break };
            let taken = look.taken(delivery.delivery_tag);
            let letter = Letter::open(self.names, delivery);
            let Some(place) = self.place_of(letter.kind) else { continue };
            bytes += letter.size();
            found.push(Found { place, taken, letter });
            // What comes in the place of one that is settled would go back behind all others.
            if look.rests() && (found.len() >= MANY || bytes >= LARGE) {
                self.send_back(look, std::mem::take(&mut found)).await?;
                bytes = 0;
            }
        }
        self.send_back(look, found).await
    }

    fn place_of(&mut self, kind: Token) -> Option<usize> {
        let places = self.wanted.get_mut(&kind)?;
        let place = places.pop_front();
        self.left -= 1;
        if places.is_empty() {
            self.wanted.remove(&kind);
        }
        place
    }

    /// Publishes them in the order in which they were asked for, and settles those that are stored.
    async fn send_back(&mut self, look: &mut Look<'_>, mut found: Vec<Found>) -> Result<()> {
        found.sort_by_key(|found| found.place);
        let most = self.brokers.mover.most_properties(OPERATION).await?;
        let (mut copies, mut sent) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for Found { place, taken, letter } in found {
            match letter.copy(self.names, most) {
                Ok(copy) => {
                    copies.push(copy);
                    sent.push((place, taken));
                }
                Err(error) => self.answers[place] = Some(Err(error)),
            }
        }
        let stored = match self.brokers.mover.store(OPERATION, copies).await {
            Ok(stored) => stored,
            Err(error) => sent.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut ended = Ok(());
        for ((place, taken), stored) in sent.into_iter().zip(stored) {
            let answer = match stored {
                // Only now that it is with its group again: rather twice than never.
                Ok(()) => {
                    if ended.is_ok() {
                        ended = look.settle(taken).await;
                    }
                    Ok(Redrive::Redriven)
                }
                Err(error) => Err(error),
            };
            self.answers[place] = Some(answer);
        }
        ended
    }
}

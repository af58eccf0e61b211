//! A group's dead letters.

use std::collections::BTreeMap;
use std::ops::Bound;

use zephcast_core::driver::{DeadLetter, Failure, Redrive};
use zephcast_core::{Message, Position, PositionStyle, Token, UnitId};

use super::Open;
use super::redeliveries::{Again, Stage};

/// A dead letter and the way back.
#[derive(Debug)]
pub(super) struct Letter {
    unit: UnitId,
    offset: u64,
    message: Message,
    attempts: u32,
    failure: Failure,
    origin: String,
}

impl Letter {
    pub(super) fn new(
        unit: UnitId,
        offset: u64,
        message: &Message,
        attempts: u32,
        failure: &Failure,
        origin: String,
    ) -> Self {
        Self { unit, offset, message: message.clone(), attempts, failure: failure.clone(), origin }
    }

    fn show(&self, number: u64) -> DeadLetter {
        DeadLetter {
            position: Position::new(PositionStyle::UnitOffset, UnitId(0), Token(number, 0)),
            message: self.message.clone(),
            reason: self.failure.reason.clone(),
            attempts: self.attempts,
            first_failed_ms: Some(self.failure.first_failed_ms),
            last_failed_ms: Some(self.failure.last_failed_ms),
            origin: self.origin.clone(),
        }
    }
}

/// Dead letters by number, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    letters: BTreeMap<u64, Letter>,
    next: u64,
}

impl DeadLetters {
    pub(super) fn push(&mut self, letter: Letter) {
        self.letters.insert(self.next, letter);
        self.next += 1;
    }

    pub(super) fn len(&self) -> u64 {
        self.letters.len() as u64
    }
}

impl Open<'_> {
    pub(crate) fn dead_letters(&self, after: Option<Position>, limit: usize) -> Vec<DeadLetter> {
        let after = after.map_or(Bound::Unbounded, |position| Bound::Excluded(position.token.0));
        let letters = self.state.dead.letters.range((after, Bound::Unbounded));
        letters.take(limit).map(|(number, letter)| letter.show(*number)).collect()
    }

    /// Puts a dead letter back to be handed out, its attempts counted afresh.
    pub(crate) fn redrive(&mut self, position: Position) -> Redrive {
        let number = (position.unit == UnitId(0)).then_some(position.token.0);
        let Some(letter) = number.and_then(|number| self.state.dead.letters.remove(&number)) else {
            return Redrive::Gone;
        };
        let now = self.now;
        let published_ms = self.stream.log(letter.unit).get(letter.offset).map(|record| record.published_ms);
        if let Some(unit) = self.state.unit_mut(letter.unit) {
            let mut again = Again::new(Stage::Ready, 0, 0, now);
            again.message = Some(letter.message);
            again.published_ms = published_ms;
            unit.again.insert(letter.offset, again);
        }
        self.stream.wake();
        Redrive::Redriven
    }

    pub(crate) fn purge_dead_letters(&mut self) -> u64 {
        let count = self.state.dead.len();
        self.state.dead.letters.clear();
        count
    }
}

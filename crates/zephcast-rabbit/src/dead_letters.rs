//! What a group gave up: looking, sending back, forgetting.
//!
//! The dead letters are a queue, and a queue has no places. A dead letter is therefore known by when it failed last and by
//! what it is, and looking takes messages without settling them: they are back when the channel closes.

mod redrive;
#[cfg(test)]
mod tests;

use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueuePurgeOptions};
use tokio::time::Instant;
use zephcast_core::driver::DeadLetter;
use zephcast_core::{Position, PositionStyle, Result, Token};

pub(crate) use self::redrive::redrive;
use crate::brokers::Brokers;
use crate::errand::Errand;
use crate::error::code;
use crate::hints::fingerprint;
use crate::member::UNIT;
use crate::names::Names;
use crate::native;
use crate::properties::{self, Decoded};
use crate::status::existing;
use crate::topology;

const OPERATION: &str = "dead letters";

pub(crate) async fn list(
    brokers: &Brokers,
    names: &Names,
    after: Option<Position>,
    limit: usize,
) -> Result<Vec<DeadLetter>> {
    native::refuse(brokers, OPERATION)?;
    let after = after.map(|after| after.token);
    let mut letters = Vec::new();
    let mut look = Look::open(brokers, names).await?;
    while let Some((delivery, _)) = look.next().await? {
        let letter = letter(names, delivery);
        if after.is_none_or(|after| letter.position.token > after) {
            letters.push(letter);
        }
        // Only as much is kept as is asked for; the queue is almost in this order.
        if letters.len() > 2 * limit {
            first(&mut letters, limit);
        }
    }
    first(&mut letters, limit);
    look.close().await?;
    if letters.is_empty() {
        // None, or nothing of the kind.
        existing(brokers, OPERATION, names).await?;
    }
    Ok(letters)
}

/// The first so many, in order.
fn first(letters: &mut Vec<DeadLetter>, limit: usize) {
    letters.sort_by_key(|letter| letter.position.token);
    letters.truncate(limit);
}

fn letter(names: &Names, delivery: Delivery) -> DeadLetter {
    let token = token(names, &delivery);
    let key = delivery.routing_key;
    let Decoded { message, notes, .. } =
        properties::decode(delivery.data.into(), key.as_str(), delivery.properties, &names.prefix());
    DeadLetter {
        position: Position::new(PositionStyle::Tag, UNIT, token),
        message,
        reason: notes.reason.unwrap_or_else(|| "given up by the broker".into()),
        attempts: notes.attempts,
        first_failed_ms: notes.first_failed_ms,
        last_failed_ms: notes.last_failed_ms,
        origin: notes.origin_text.unwrap_or_default(),
    }
}

/// When it failed last, and what tells it from others.
fn token(names: &Names, delivery: &Delivery) -> Token {
    let Decoded { message, notes, .. } = properties::decode(
        delivery.data.clone().into(),
        delivery.routing_key.as_str(),
        delivery.properties.clone(),
        &names.prefix(),
    );
    let id = message.id().map_or(&[][..], |id| id.as_bytes());
    let origin = notes.origin_text.unwrap_or_default();
    Token(notes.last_failed_ms.unwrap_or(0), fingerprint([id, message.payload(), origin.as_bytes()]))
}

pub(crate) async fn purge(brokers: &Brokers, names: &Names) -> Result<u64> {
    native::refuse(brokers, OPERATION)?;
    existing(brokers, OPERATION, names).await?;
    let errand = Errand::begin(&brokers.control, OPERATION).await?;
    let purged = errand.channel().queue_purge(names.dead.as_str().into(), QueuePurgeOptions::default());
    match errand.try_call(purged).await {
        Ok(count) => Ok(count.into()),
        Err(failure) if failure.has_code(code::NOT_FOUND) => Ok(0),
        Err(failure) => Err(errand.failed(failure)),
    }
}

/// Takes one dead letter after the other, without settling them.
struct Look<'a> {
    brokers: &'a Brokers,
    names: &'a Names,
    errand: Errand<'a>,
    /// How many were taken and not settled.
    taken: u64,
}

impl<'a> Look<'a> {
    async fn open(brokers: &'a Brokers, names: &'a Names) -> Result<Self> {
        let errand = Errand::begin(&brokers.control, OPERATION).await?;
        Ok(Self { brokers, names, errand, taken: 0 })
    }

    /// The next one and its delivery tag; none at the end, or where there is no queue.
    async fn next(&mut self) -> Result<Option<(Delivery, u64)>> {
        let got = self.errand.channel().basic_get(self.names.dead.as_str().into(), BasicGetOptions::default());
        match self.errand.try_call(got).await {
            Ok(Some(got)) => {
                let tag = got.delivery.delivery_tag;
                self.taken += 1;
                Ok(Some((got.delivery, tag)))
            }
            Ok(None) => Ok(None),
            Err(failure) if failure.has_code(code::NOT_FOUND) => Ok(None),
            Err(failure) => Err(self.errand.failed(failure)),
        }
    }

    async fn settle(&mut self, tag: u64) -> Result<()> {
        self.taken -= 1;
        self.errand.call(self.errand.channel().basic_ack(tag, BasicAckOptions::default())).await
    }

    /// What was not settled is back in the queue when this returns.
    async fn close(self) -> Result<()> {
        self.errand.end().await?;
        self.settle_down().await
    }

    /// Waits, for a moment, until what was taken is counted as ready again: the channel is closed before the queue's log
    /// has it.
    async fn settle_down(&self) -> Result<()> {
        const MOMENT: Duration = Duration::from_millis(500);
        const AGAIN: Duration = Duration::from_millis(2);
        let until = Instant::now() + MOMENT;
        while self.taken > 0 && Instant::now() < until {
            let there = topology::queue(&self.brokers.control, OPERATION, &self.names.dead).await?;
            if there.is_none_or(|(ready, _)| ready >= self.taken) {
                break;
            }
            // There is no word of it to wait for.
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }
}

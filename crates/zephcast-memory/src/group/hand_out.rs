//! What a member's fetch gets.

use tokio::time::Instant;
use zephcast_core::driver::{Batch, Credit, Fetched, Incoming};
use zephcast_core::{Event, Message, Result, Token, UnitId};

use super::redeliveries::{Again, Stage};
use super::unit::Unit;
use super::{MemberId, Open};
use crate::error::error;
use crate::log::Log;

/// What a fetch is to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Hand this out.
    Give(Fetched),
    /// Read the log of this unit from this offset, which takes no lock of the group, and then claim what was read.
    Read(UnitId, u64),
    /// Wait for news, at most until then.
    Wait(Option<Instant>),
}

impl Open<'_> {
    /// What comes next for a member: news, then what it may have missed, then messages, each unit in its turn.
    ///
    /// # Errors
    /// `Conflict` when another member has joined under its name.
    pub(crate) fn step(&mut self, id: MemberId, credit: Credit) -> Result<Step> {
        let Some(member) = self.state.roster.get_mut(id) else {
            return Err(error(
                zephcast_core::ErrorKind::Conflict,
                "fetch",
                "another member joined under this one's name; give each member a name of its own",
            ));
        };
        if let Some(news) = member.news.pop_front() {
            return Ok(Step::Give(news));
        }
        if !member.alive {
            self.revive(id);
            return self.step(id, credit);
        }
        if credit.messages == 0 {
            return Ok(Step::Wait(self.next_expiry()));
        }
        if let Some(batch) = self.repeat(id, credit) {
            return Ok(Step::Give(Fetched::Batch(batch)));
        }
        if credit.suspect {
            // Whoever asks holds everything else back: it must not wait for what may never come.
            return Ok(Step::Give(self.suspect(id).unwrap_or(Fetched::Idle)));
        }
        Ok(self.next_of_units(id, credit))
    }

    /// Counts what was read from a unit's log as handed out; `false` when the unit went elsewhere meanwhile.
    pub(crate) fn claim(&mut self, id: MemberId, number: UnitId, from: u64, count: u64) -> bool {
        let now = self.now;
        match self.state.unit_mut(number) {
            Some(unit) if is_served(unit, id) && unit.ring.cursor() == from && unit.again.first_suspect().is_none() => {
                unit.ring.hand_out(count, now);
                true
            }
            _ => false,
        }
    }

    /// Everything the member holds is handed out once more: the answer that brought it may have been lost.
    ///
    /// A suspect is not: it is handed out alone, and the caller knows of the answer that was lost.
    pub(crate) fn repeat_all(&mut self, id: MemberId) {
        let mut held = Vec::new();
        for unit in self.state.units.iter().filter(|unit| unit.owner == Some(id)) {
            let again = unit.again.iter().filter(|(_, again)| again.stage() == Stage::Out { suspect: false });
            let again = again.map(|(offset, again)| Token(offset, again.mark));
            let first = unit.ring.out_from(0).map(|offset| Token(offset, 0));
            held.extend(again.chain(first).map(|token| (unit.id, token)));
        }
        if let Some(member) = self.state.roster.get_mut(id) {
            member.repeat = held.into();
        }
    }

    /// The answer with this batch did not arrive. What was in it stays the member's; a suspect goes back.
    pub(crate) fn unanswered(&mut self, batch: &Batch) {
        let Some(unit) = self.state.unit_mut(batch.unit) else { return };
        for incoming in batch.messages.iter().filter(|incoming| incoming.suspect) {
            unit.again.set_stage(incoming.token.0, Stage::Suspect);
            if let Some(again) = unit.again.get_mut(incoming.token.0) {
                again.attempts -= 1;
            }
        }
    }

    /// The next messages of one unit that the member held and still holds.
    fn repeat(&mut self, id: MemberId, credit: Credit) -> Option<Batch> {
        let mut batch: Option<Batch> = None;
        while let Some(&(number, token)) = self.state.roster.get(id)?.repeat.front()
            && batch.as_ref().is_none_or(|batch| batch.unit == number && batch.messages.len() < credit.messages)
        {
            self.state.roster.get_mut(id)?.repeat.pop_front();
            // It may have gone elsewhere since, in good order.
            let unit = self.state.unit(number).filter(|unit| unit.owner == Some(id));
            let incoming = unit.and_then(|unit| incoming(unit, &self.stream.log(number), token));
            if let Some(incoming) = incoming.filter(|incoming| !incoming.suspect) {
                let batch = batch.get_or_insert_with(|| Batch { unit: number, messages: Vec::new() });
                batch.messages.push(incoming);
            }
        }
        batch
    }

    /// One suspect of the member's units.
    fn suspect(&mut self, id: MemberId) -> Option<Fetched> {
        let mut units = self.state.units.iter_mut().filter(|unit| is_served(unit, id));
        let (unit, offset) = units.find_map(|unit| unit.again.first_suspect().map(|offset| (unit, offset)))?;
        let number = unit.id;
        let given = give_again(unit, &self.stream.log(number), offset, self.now);
        if let Some(member) = self.state.roster.get_mut(id) {
            member.told_suspects = false;
        }
        Some(match given {
            Some(incoming) => Fetched::Batch(Batch { unit: number, messages: vec![incoming] }),
            None => Fetched::Event(Event::Missing { unit: number, count: 1 }),
        })
    }

    fn next_of_units(&mut self, id: MemberId, credit: Credit) -> Step {
        let count = self.state.units.len() as u32;
        let (turn, told) = match self.state.roster.get(id) {
            Some(member) => (member.turn, member.told_suspects),
            None => (0, true),
        };
        let mut wait = self.next_expiry();
        for number in (0..count).map(|n| UnitId((turn + n) % count)) {
            let now = self.now;
            let stream = self.stream;
            let Some(unit) = self.state.unit_mut(number).filter(|unit| is_served(unit, id)) else { continue };
            unit.again.wake_due(now);
            // Nothing of the unit passes its suspects, so that order by key holds.
            let step = if unit.again.first_suspect().is_some() {
                (!told).then_some(Step::Give(Fetched::Suspects))
            } else if unit.again.first_ready().is_some() {
                Some(Step::Give(ready_batch(unit, &stream.log(number), credit, now)))
            } else {
                unread(unit, &stream.log(number))
            };
            wait = [wait, unit.again.next_due()].into_iter().flatten().min();
            if let Some(step) = step {
                if let Some(member) = self.state.roster.get_mut(id) {
                    member.turn = (number.0 + 1) % count;
                    member.told_suspects |= matches!(step, Step::Give(Fetched::Suspects));
                }
                return step;
            }
        }
        Step::Wait(wait)
    }
}

/// Reads messages on their first way, to be claimed.
pub(crate) fn read_first(log: &Log, unit: UnitId, from: u64, credit: Credit) -> Batch {
    let ready = usize::try_from(log.end().saturating_sub(from)).unwrap_or(usize::MAX);
    let mut messages = Vec::with_capacity(ready.min(credit.messages));
    let mut bytes = 0;
    for (offset, record) in (from..).zip(log.read(from)).take(credit.messages) {
        bytes += record.message.byte_len();
        if bytes > credit.bytes && !messages.is_empty() {
            break;
        }
        let token = Token(offset, 0);
        messages.push(Incoming {
            token,
            origin: (unit, token),
            message: record.message.clone(),
            attempt: 1,
            redelivered: false,
            published_ms: Some(record.published_ms),
            first_failed_ms: None,
            suspect: false,
        });
    }
    Batch { unit, messages }
}

fn is_served(unit: &Unit, id: MemberId) -> bool {
    unit.owner == Some(id) && unit.revoking.is_none()
}

/// Whether there is something on its first way: to be read, or to be reported as gone.
fn unread(unit: &mut Unit, log: &Log) -> Option<Step> {
    let cursor = unit.ring.cursor();
    if cursor < log.start() {
        unit.ring.skip_to(log.start());
        return Some(Step::Give(Fetched::Event(Event::Missing { unit: unit.id, count: log.start() - cursor })));
    }
    (cursor < log.end()).then_some(Step::Read(unit.id, cursor))
}

/// The ready messages of a unit up to the credit, or how many of them are gone.
fn ready_batch(unit: &mut Unit, log: &Log, credit: Credit, now: Instant) -> Fetched {
    let (mut messages, mut bytes, mut missing) = (Vec::new(), 0, 0);
    while let Some(offset) = unit.again.first_ready()
        && messages.len() < credit.messages
    {
        let size = unit.again.get(offset).and_then(|again| message_of(again, log, offset)).map(Message::byte_len);
        bytes += size.unwrap_or(0);
        // What does not fit, and what is to be said of what is gone, waits for the next fetch.
        if !messages.is_empty() && (size.is_none() || bytes > credit.bytes) || missing > 0 && size.is_some() {
            break;
        }
        match give_again(unit, log, offset, now) {
            Some(incoming) => messages.push(incoming),
            None => missing += 1,
        }
    }
    match missing {
        0 => Fetched::Batch(Batch { unit: unit.id, messages }),
        count => Fetched::Event(Event::Missing { unit: unit.id, count }),
    }
}

/// Hands out a message that is not on its first way; `None`, and settled, when it is gone.
fn give_again(unit: &mut Unit, log: &Log, offset: u64, now: Instant) -> Option<Incoming> {
    if unit.again.get(offset).and_then(|again| message_of(again, log, offset)).is_none() {
        unit.again.remove(offset);
        return None;
    }
    let token = unit.hand_out_again(offset, now);
    incoming(unit, log, token)
}

/// What is out under this token, as it was handed out. A message can be on its first way and wait for a later attempt at
/// the same time, since its group was moved back.
fn incoming(unit: &Unit, log: &Log, token: Token) -> Option<Incoming> {
    let Token(offset, mark) = token;
    let origin = Token(offset, 0);
    let record = log.get(offset);
    if mark == 0 && unit.ring.is_out(offset) {
        let record = record?;
        return Some(Incoming {
            token: origin,
            origin: (unit.id, origin),
            message: record.message.clone(),
            attempt: 1,
            redelivered: false,
            published_ms: Some(record.published_ms),
            first_failed_ms: None,
            suspect: false,
        });
    }
    let again = unit.again.get(offset).filter(|again| again.mark == mark)?;
    let Stage::Out { suspect } = again.stage() else { return None };
    Some(Incoming {
        token,
        origin: (unit.id, origin),
        message: message_of(again, log, offset)?.clone(),
        attempt: again.attempts,
        redelivered: true,
        published_ms: again.published_ms.or_else(|| record.map(|record| record.published_ms)),
        first_failed_ms: again.first_failed_ms,
        suspect,
    })
}

fn message_of<'a>(again: &'a Again, log: &'a Log, offset: u64) -> Option<&'a Message> {
    again.message.as_ref().or_else(|| log.get(offset).map(|record| &record.message))
}

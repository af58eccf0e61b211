//! Hand-outs: what a fetch brings, noted so that everything after can be checked, and what is taken away again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use zephcast_core::driver::{Credit, Fetched, Incoming};
use zephcast_core::{Message, Token, UnitId};

use crate::broker::{State, at_usize};
use crate::ledger::{Handout, Stage};
use crate::schedule::Flavour;

impl State {
    /// How many of these messages fit into a batch, at least one.
    pub(crate) fn fitting(&mut self, credit: Credit, unit: u32, offsets: &[u64]) -> usize {
        let most = self.faults.up_to(credit.messages.min(offsets.len()));
        let mut bytes = 0;
        let log = &self.units[unit as usize].log;
        let sizes = offsets.iter().map(|at| self.messages[log[at_usize(*at)].message].payload.len() + HEADER);
        sizes
            .take(most)
            .take_while(|size| {
                let fits = bytes < credit.bytes;
                bytes += size;
                fits
            })
            .count()
    }

    /// The key of a hand-out's message, of which there are two in each unit.
    pub(crate) fn key(&self, number: usize) -> (u32, usize) {
        (self.handouts[number].unit, self.key_of(self.handouts[number].message))
    }

    pub(crate) fn key_of(&self, message: usize) -> usize {
        message / self.units.len() % 2
    }

    /// Notes a hand-out and makes the message of it.
    pub(crate) fn hand_out(&mut self, id: usize, unit: u32, offset: u64, suspect: bool, attempt: u32) -> Incoming {
        let entry = &self.units[unit as usize].log[at_usize(offset)];
        let (message, origin, attempts) = (entry.message, entry.origin, entry.attempts);
        let number = self.handouts.len();
        let generation = self.members[id].told.get(&unit).copied().unwrap_or(0);
        let payload = Payload::new(&self.messages[message].payload, &self.payloads);
        let message_out = Message::new(Bytes::from_owner(payload)).with_header("handout", format!("{number:06}"));
        let message_out = message_out.with_key(format!("k{}", self.key_of(message)));
        self.handouts.push(Handout {
            message,
            member: id,
            unit,
            token: offset,
            generation,
            attempt,
            suspect,
            bytes: message_out.byte_len(),
            received: false,
            delivered: false,
            stage: Stage::Engine,
            lost: false,
            ended: false,
            durable: false,
            excused: false,
        });
        self.note(|| {
            format!(
                "{} <- #{message} at {unit}:{offset}, attempt {attempt}, suspect {suspect}, hand-out {number}",
                self.members[id].name
            )
        });
        Incoming {
            token: Token(offset, 0),
            origin: (UnitId(unit), Token(origin, 0)),
            message: message_out,
            attempt,
            redelivered: origin != offset,
            published_ms: Some(origin),
            first_failed_ms: (attempts > 0 && !suspect).then_some(1),
            suspect,
        }
    }

    /// The engine got what a fetch brought.
    pub(crate) fn received(&mut self, id: usize, fetched: &Fetched) {
        match fetched {
            Fetched::Batch(batch) => {
                for incoming in &batch.messages {
                    self.handouts[number_of(&incoming.message)].received = true;
                }
                self.check_room(id);
            }
            Fetched::Assigned(units) => self.told_assigned(id, units),
            Fetched::Lost(units) => {
                for UnitId(unit) in units {
                    self.members[id].told.remove(unit);
                }
            }
            Fetched::Revoking(release) => {
                for UnitId(number) in &release.units {
                    let (now, unit) = (self.now, &mut self.units[*number as usize]);
                    // An answer that comes late may speak of an assignment that has ended.
                    let present = unit.owner == Some(id) && self.members[id].told.get(number) == Some(&unit.generation);
                    if let Some(revoking) = unit.revoking.as_mut().filter(|_| present) {
                        revoking.since = Some(now);
                    }
                }
            }
            _ => {}
        }
    }

    /// The broker takes it away, and with it whatever was handed out for it once more.
    pub(crate) fn lose(&mut self, handout: usize) {
        let Handout { member, unit, token, generation, .. } = self.handouts[handout];
        for other in 0..self.handouts.len() {
            let same = &self.handouts[other];
            if (same.member, same.unit, same.token, same.generation) == (member, unit, token, generation) {
                self.lose_one(other);
            }
        }
    }

    fn lose_one(&mut self, handout: usize) {
        let handout = &mut self.handouts[handout];
        if handout.ended {
            return;
        }
        (handout.lost, handout.ended) = (true, true);
        let (message, member) = (handout.message, handout.member);
        // A frontier alone cannot carry what was done above an unfinished head.
        let above =
            self.setup.flavour == Flavour::Assigned && handout.token >= self.units[handout.unit as usize].committed;
        if !handout.durable || above {
            handout.excused = true;
            self.messages[message].disturbed = true;
        }
        self.members[member].lost_something = true;
    }
}

/// The header that carries the hand-out's number, and the key.
const HEADER: usize = 15;

/// The number of the hand-out that made this message.
pub(crate) fn number_of(message: &Message) -> usize {
    message.headers().first_str("handout").and_then(|number| number.parse().ok()).expect("every hand-out has a number")
}

/// A payload that says when it is let go.
struct Payload {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Payload {
    fn new(bytes: &[u8], alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self { bytes: bytes.to_vec(), alive: alive.clone() }
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

//! What must hold at every step. Each check says in its text what was found; the runner stops at the first.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use zephcast_core::Delivery;
use zephcast_core::driver::Credit;

use crate::broker::{State, at_usize};
use crate::ledger::{Handout, Stage};
use crate::schedule::Flavour;

/// A unit, a token and the assignment to which it belongs.
pub(crate) type Key = (u32, u64, u64);

pub(crate) fn key(handout: &Handout) -> Key {
    (handout.unit, handout.token, handout.generation)
}

/// Another delivery that a handler of the same process has, and since when.
pub(crate) struct Busy {
    pub(crate) handout: usize,
    pub(crate) since: Instant,
}

impl State {
    /// S1: what a fetch asks for fits into the window.
    pub(crate) fn check_credit(&mut self, id: usize, credit: Credit) {
        let open = self.open(id);
        let (count, bytes) = (open.len(), open.values().sum::<usize>());
        let (most, most_bytes) = (self.setup.prefetch, self.setup.prefetch_bytes);
        self.require(credit.messages > 0 || !credit.suspect, || "a suspect is fetched without credit".into());
        let (name, credit_of) = (self.members[id].name.clone(), credit.messages);
        self.require(count + credit_of <= most, || {
            format!("{name} fetches {credit_of} with {count} of {most} in flight: {open:?}")
        });
        self.require(credit.suspect || credit.messages == 0 || bytes + credit.bytes <= most_bytes, || {
            format!("a fetch of {} bytes with {bytes} of {most_bytes} in flight", credit.bytes)
        });
    }

    pub(crate) fn check_room(&mut self, id: usize) {
        let (open, most) = (self.open(id).len(), self.setup.prefetch);
        self.require(open <= most, || format!("{open} in flight, at most {most} are allowed"));
    }

    /// What takes room in a member's window, with its bytes.
    fn open(&self, id: usize) -> BTreeMap<Key, usize> {
        let mine = || self.handouts.iter().filter(|handout| handout.member == id);
        // What comes back while its ack is still on its way is known to the engine, and dropped.
        let settled: BTreeSet<Key> = mine().filter(|handout| handout.is_acked() || handout.durable).map(key).collect();
        let open = mine().filter(|handout| handout.is_open() && !settled.contains(&key(handout)));
        open.map(|handout| (key(handout), handout.bytes)).collect()
    }

    /// What a handler gets is ours, new to it or nacked by it, and beside no suspect.
    pub(crate) fn check_delivery(&mut self, id: usize, number: usize, delivery: &Delivery, busy: &[Busy]) {
        let handout = &self.handouts[number];
        let (message, stage, unit) = (handout.message, handout.stage, handout.unit);
        let said = (delivery.attempt(), delivery.redelivered(), delivery.unit().0, delivery.member().as_str());
        let came_back = self.units[unit as usize].log[at_usize(handout.token)].origin != handout.token;
        let redelivered = came_back || handout.attempt > 1 || stage == Stage::Back;
        let expected = (handout.attempt, redelivered, unit, self.members[id].name.as_str());
        let told = (said != expected).then(|| format!("a delivery says {said:?} instead of {expected:?}"));
        let origin = self.messages[message].stored.first().map(|(_, offset)| *offset);
        let intact = delivery.payload()[..] == self.messages[message].payload[..]
            && Some(delivery.position().token.0) == origin
            && handout.member == id;
        self.require(told.is_none(), || told.unwrap_or_default());
        self.require(intact, || format!("#{message} is delivered with other bytes or metadata"));
        self.require(matches!(stage, Stage::Engine | Stage::Back), || {
            format!("#{message} is delivered while {stage:?}")
        });
        self.require(!delivery.is_lost(), || format!("#{message} is handed out although it is known to be lost"));
        self.check_duplicate(number);
        self.check_beside(number, busy);
        self.check_order(number);
        if self.setup.flavour == Flavour::Assigned {
            let since = self.units[unit as usize].revoking.as_ref().and_then(|revoking| revoking.since);
            let mine = self.units[unit as usize].generation == self.handouts[number].generation;
            let late = mine && since.is_some_and(|since| since < self.now);
            self.require(!late, || format!("#{message} is handed out while its unit is being given up"));
        }
    }

    /// D5: what was acked by an owner that kept it is not delivered again.
    fn check_duplicate(&mut self, number: usize) {
        let message = self.handouts[number].message;
        let (unit, token) = (self.handouts[number].unit, self.handouts[number].token);
        let disturbed = self.messages[message].disturbed;
        let acked = (0..number).find(|earlier| {
            let earlier = &self.handouts[*earlier];
            // A crash may have left two copies, of which each is on its own.
            let same = earlier.message == message && (!disturbed || (earlier.unit, earlier.token) == (unit, token));
            same && earlier.is_acked() && !earlier.excused
        });
        self.require(acked.is_none(), || {
            format!("#{message} is delivered again as {number} although {acked:?} was acked")
        });
    }

    /// F5: what a process handled as a suspect is at the broker before it gets the next, which may kill it. Where settling
    /// fails, nothing waits for it for ever.
    pub(crate) fn check_suspects(&mut self, id: usize) {
        let process = self.members[id].process;
        let open = self.handouts.iter().find(|handout| {
            let beside = self.members[handout.member].process == process && handout.suspect && !handout.ended;
            beside && handout.is_decided() && !handout.durable
        });
        let open = open.map(|handout| (handout.message, handout.stage)).filter(|_| self.setup.killers);
        self.require(open.is_none(), || format!("a suspect is fetched before {open:?} is at the broker"));
    }

    /// F5: beside a suspect nothing else of the process is started, but for what has been running for long, and for
    /// what the handlers of a member still have that is leaving.
    fn check_beside(&mut self, number: usize, busy: &[Busy]) {
        let suspect = self.handouts[number].suspect;
        let (now, lease) = (self.now, self.setup.lease);
        let beside = busy.iter().find(|other| {
            let held = &self.handouts[other.handout];
            let fresh = other.since + lease / 2 > now && !self.members[held.member].stopping;
            fresh && (suspect || held.suspect)
        });
        let beside = beside.map(|other| (other.handout, now.duration_since(other.since)));
        self.require(beside.is_none(), || format!("{number} (suspect: {suspect}) is started beside {beside:?}"));
    }

    /// D8: a unit that one member has is handed out in order, but for what comes back; handlers of a group that works in
    /// order of keys begin each key in order.
    fn check_order(&mut self, number: usize) {
        if self.setup.flavour == Flavour::Shared || self.handouts[number].stage == Stage::Back {
            return;
        }
        let handout = &self.handouts[number];
        let same = |other: &&Handout| {
            (other.member, other.unit, other.generation) == (handout.member, handout.unit, handout.generation)
        };
        let by_key = self.members[handout.member].by_key;
        let key = self.key_of(handout.message);
        let mut later =
            self.handouts.iter().filter(same).filter(|other| other.delivered && other.token > handout.token);
        let later = later.find(|other| !by_key || self.key_of(other.message) == key).map(|later| later.token);
        let (unit, token) = (handout.unit, handout.token);
        self.require(later.is_none(), || format!("{unit}:{token} is delivered after {later:?}"));
    }
}

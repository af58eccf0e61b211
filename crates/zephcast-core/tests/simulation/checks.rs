//! What must hold at every step. Each check says in its text what was found; the runner stops at the first.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use zephcast_core::driver::{Credit, Disposition, Returned, Settlement, UnitSettlements};
use zephcast_core::{Delivery, Token};

use crate::broker::State;
use crate::faults::Link;
use crate::ledger::{Decision, Handout, Stage};
use crate::schedule::Flavour;

/// A unit, a token and the assignment to which it belongs.
type Key = (u32, u64, u64);

fn key(handout: &Handout) -> Key {
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
        self.require(credit.messages > 0, || "a fetch without credit".into());
        let (name, credit_of) = (self.members[id].name.clone(), credit.messages);
        self.require(count + credit_of <= most, || {
            format!("{name} fetches {credit_of} with {count} of {most} in flight: {open:?}")
        });
        self.require(credit.suspect || bytes + credit.bytes <= most_bytes, || {
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

    /// D3, D6, F3: nothing is settled but what a handler of this very assignment decided, and as it decided.
    pub(crate) fn check_settlement(&mut self, id: usize, settlement: &Settlement, told: &BTreeMap<u32, u64>) {
        if self.link(id) == Link::Dead {
            return;
        }
        for settled in &settlement.units {
            let unit = settled.unit.0;
            let generation = match self.setup.flavour {
                Flavour::Shared => 0,
                // Nothing can come of it: the broker answers that it is lost.
                Flavour::Assigned => match told.get(&unit) {
                    Some(generation) => *generation,
                    None => continue,
                },
            };
            for token in &settled.acked {
                let decided = self.decision(id, (unit, token.0, generation));
                self.require(decided == Some(Decision::Ack), || {
                    format!("acks {unit}:{} of assignment {generation}, decided was {decided:?}", token.0)
                });
            }
            for (token, disposition) in &settled.others {
                self.check_disposition(id, (unit, token.0, generation), disposition);
            }
            if self.setup.flavour == Flavour::Assigned {
                self.check_frontier(id, settled, generation);
            }
        }
    }

    /// The decision on what a handler got last under this key.
    fn decision(&self, id: usize, wanted: Key) -> Option<Decision> {
        let mut delivered = self.handouts.iter().rev().filter(|handout| handout.delivered && handout.member == id);
        match delivered.find(|handout| key(handout) == wanted)?.stage {
            Stage::Decided(decision) => Some(decision),
            Stage::Engine | Stage::Handler(_) | Stage::Back | Stage::Gone => None,
        }
    }

    fn check_disposition(&mut self, id: usize, wanted: Key, disposition: &Disposition) {
        let decided = self.decision(id, wanted);
        let (settled, message) = match disposition {
            Disposition::Later { attempts, message, .. } => (Decision::Later { attempts: *attempts }, message),
            Disposition::Dead { attempts, message, .. } => (Decision::Dead { attempts: *attempts }, message),
            Disposition::Keep { .. } => return,
            Disposition::Return { .. } => return self.violated("a delivery is returned by leaving only"),
        };
        let number = crate::broker::number_of(message);
        let (record, attempt, suspect) =
            (self.handouts[number].message, self.handouts[number].attempt, self.handouts[number].suspect);
        let intact = message.payload()[..] == self.messages[record].payload[..];
        self.require(intact, || format!("the payload of #{record} changed on its way to {settled:?}"));
        let most = self.setup.attempts.max(2);
        let blamed = !self.handouts[number].delivered
            && suspect
            && attempt > most
            && settled == Decision::Dead { attempts: attempt - 1 };
        if blamed {
            self.faults.count("messages that killed too often");
            self.note(|| format!("#{record} is dead-lettered for {} deaths", attempt - 1));
        }
        self.require(blamed || decided == Some(settled), || {
            format!("{settled:?} of {wanted:?}, decided was {decided:?}")
        });
    }

    /// A frontier never falls within an assignment and never passes what is not settled.
    fn check_frontier(&mut self, id: usize, settled: &UnitSettlements, generation: u64) {
        let (unit, Some(Token(frontier, _))) = (settled.unit.0, settled.frontier) else { return };
        let before = self.members[id].frontiers.insert(unit, frontier);
        self.require(before.is_none_or(|before| before <= frontier), || {
            format!("the frontier of unit {unit} falls from {before:?} to {frontier}")
        });
        let of_it = |handout: &&Handout| {
            (handout.member, handout.unit, handout.generation) == (id, unit, generation) && handout.received
        };
        let highest = self.handouts.iter().filter(of_it).map(|handout| handout.token).max();
        self.require(highest >= Some(frontier), || {
            format!("the frontier {frontier} of unit {unit} is beyond {highest:?}")
        });
        let open = self
            .handouts
            .iter()
            .filter(of_it)
            .find(|handout| handout.token <= frontier && !handout.is_acked() && !handout.durable && !handout.lost);
        let open = open.map(|handout| (handout.token, handout.stage));
        self.require(open.is_none(), || format!("the frontier {frontier} of unit {unit} passes {open:?}"));
    }

    /// M1: a unit is released in time only when nothing of it runs and everything decided is at the broker.
    pub(crate) fn check_release(&mut self, owner: usize, number: usize) {
        let Some(since) = self.units[number].revoking.as_ref().and_then(|revoking| revoking.since) else { return };
        let member = &self.members[owner];
        let overdue = self.now.duration_since(since) >= self.setup.drain;
        if overdue || member.stopping || member.left || member.forbidden {
            return;
        }
        let generation = self.units[number].generation;
        let of_it = |handout: &&Handout| {
            (handout.member, handout.unit as usize, handout.generation) == (owner, number, generation) && !handout.ended
        };
        let early = self
            .handouts
            .iter()
            .filter(of_it)
            .find(|handout| handout.is_with_handler() || handout.is_decided() && !handout.durable);
        let early = early.map(|handout| (handout.token, handout.stage));
        let behind = self.is_behind(owner, number);
        self.require(!behind, || format!("unit {number} is released in time with its frontier behind"));
        self.require(early.is_none(), || format!("unit {number} is released in time with {early:?}"));
    }

    /// Whether the frontier could be further: what comes first above it is settled.
    fn is_behind(&self, id: usize, number: usize) -> bool {
        let unit = &self.units[number];
        let above = self.handouts.iter().filter(|handout| {
            let of_it = (handout.member, handout.unit as usize, handout.generation) == (id, number, unit.generation);
            of_it && handout.received && handout.token >= unit.committed
        });
        above.min_by_key(|handout| handout.token).is_some_and(|first| first.durable)
    }

    /// S3: everything unsettled is given back, with the attempts that count.
    pub(crate) fn check_leave(&mut self, id: usize, returned: &[Returned]) {
        let again = self.members[id].returned.is_some();
        self.require(!again, || "a member leaves once".into());
        self.members[id].returned = Some(returned.len());
        if self.link(id) == Link::Dead {
            return;
        }
        let given: BTreeMap<(u32, u64), u32> =
            returned.iter().map(|returned| ((returned.unit.0, returned.token.0), returned.attempts)).collect();
        self.require(given.len() == returned.len(), || "a delivery is given back twice".into());
        let mine = || self.handouts.iter().filter(|handout| handout.member == id && !handout.ended && handout.received);
        let undurable: BTreeSet<Key> =
            mine().filter(|handout| handout.is_decided() && !handout.durable).map(key).collect();
        // Of two with one key the engine knows the one that a handler got, and dropped the other.
        let mut known: BTreeMap<Key, &Handout> = mine().map(|handout| (key(handout), handout)).collect();
        known.extend(
            mine().filter(|handout| handout.delivered || handout.durable).map(|handout| (key(handout), handout)),
        );
        let undecided = || known.values().filter(|handout| !handout.is_decided() && !handout.durable);
        let forgotten =
            undecided().find(|handout| !given.contains_key(&(handout.unit, handout.token))).map(|handout| key(handout));
        let wrong = undecided().find_map(|handout| {
            let made = match handout.stage {
                Stage::Handler(_) => handout.attempt,
                // The end of its process took it; nobody hears what is said of it.
                Stage::Gone => return None,
                Stage::Engine | Stage::Back | Stage::Decided(_) => handout.attempt - 1,
            };
            let said = *given.get(&(handout.unit, handout.token))?;
            (said != made).then(|| (key(handout), handout.stage, made, said))
        });
        let unfinished = undecided().filter(|handout| handout.is_with_handler());
        let unfinished: BTreeSet<Key> = unfinished.map(|handout| key(handout)).collect();
        // What the engine does not know to be lost counts as unfinished to it.
        let started = self.handouts.iter().filter(|handout| handout.member == id && handout.is_with_handler());
        let started = started.filter(|handout| given.contains_key(&(handout.unit, handout.token)));
        let started: BTreeSet<Key> = started.map(key).collect();
        self.members[id].unfinished = (unfinished.len(), started.len());
        let owned = (0..self.units.len()).filter(|number| self.units[*number].owner == Some(id));
        let behind = owned.filter(|number| self.is_behind(id, *number)).count();
        self.members[id].undurable = undurable.len() + behind;
        self.require(forgotten.is_none(), || format!("{forgotten:?} is not given back"));
        self.require(wrong.is_none(), || format!("given back with wrong attempts (key, stage, made, said): {wrong:?}"));
    }

    /// What a handler gets is ours, new to it or nacked by it, and beside no suspect.
    pub(crate) fn check_delivery(&mut self, id: usize, number: usize, delivery: &Delivery, busy: &[Busy]) {
        let handout = &self.handouts[number];
        let (message, stage, unit) = (handout.message, handout.stage, handout.unit);
        let said = (delivery.attempt(), delivery.redelivered(), delivery.unit().0, delivery.member().as_str());
        let redelivered = handout.attempt > 1 || stage == Stage::Back;
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

    /// D8: a unit that one member has is handed out in order, but for what comes back.
    fn check_order(&mut self, number: usize) {
        if self.setup.flavour == Flavour::Shared || self.handouts[number].stage == Stage::Back {
            return;
        }
        let handout = &self.handouts[number];
        let same = |other: &&Handout| {
            (other.member, other.unit, other.generation) == (handout.member, handout.unit, handout.generation)
        };
        let later = self.handouts.iter().filter(same).find(|other| other.delivered && other.token > handout.token);
        let later = later.map(|later| later.token);
        let (unit, token) = (handout.unit, handout.token);
        self.require(later.is_none(), || format!("{unit}:{token} is delivered after {later:?}"));
    }
}

//! What must hold of every settlement, of units that are released and of members that leave.

use std::collections::{BTreeMap, BTreeSet};

use zephcast_core::Token;
use zephcast_core::driver::{Disposition, Returned, Settlement, UnitSettlements};

use crate::broker::State;
use crate::checks::{Key, key};
use crate::faults::Link;
use crate::handing_out::number_of;
use crate::ledger::{Decision, Handout, Stage};
use crate::schedule::Flavour;

impl State {
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
        let number = number_of(message);
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
        let member = &self.members[owner];
        if self.is_overdue(number) || member.stopping || member.left || member.forbidden {
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
        let before = self.members[id].returned;
        let same = before.is_none_or(|before| before == returned.len());
        self.require(same, || "a member that leaves again gives back something else".into());
        if before.is_some() {
            return;
        }
        self.members[id].returned = Some(returned.len());
        if self.link(id) == Link::Dead {
            return;
        }
        let given: BTreeMap<(u32, u64), u32> =
            returned.iter().map(|returned| ((returned.unit.0, returned.token.0), returned.attempts)).collect();
        self.require(given.len() == returned.len(), || "a delivery is given back twice".into());
        let mine = || self.handouts.iter().filter(|handout| handout.member == id && !handout.ended && handout.received);
        // A suspect that is put back while its member stops goes with what is given back.
        let put_back = |handout: &Handout| {
            let stays_as_it_was = Stage::Decided(Decision::Later { attempts: handout.attempt - 1 });
            handout.suspect && handout.stage == stays_as_it_was && given.contains_key(&(handout.unit, handout.token))
        };
        let undurable: BTreeSet<Key> =
            mine().filter(|handout| handout.is_decided() && !handout.durable && !put_back(handout)).map(key).collect();
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
            // One that was lost and came back while the engine still had it counts as it did then.
            let before = self.handouts.iter().any(|before| {
                let same = before.member == id && key(before) == key(handout) && before.ended;
                same && (before.attempt == said || before.attempt == said + 1)
            });
            (said != made && !before).then(|| (key(handout), handout.stage, made, said))
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
}

//! Units that one member has at a time, as with Kafka: sessions, revocations, a committed offset. Uses `frontier` for
//! what is done and `acked` only as a note beside it.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;
use zephcast_core::driver::{Batch, Credit, Disposition, Fetched, Held, Release, Settlement, UnitSettlements};
use zephcast_core::{Token, UnitId};

use crate::broker::{Revoking, State, at_usize};

impl State {
    pub(crate) fn look_assigned(&mut self, id: usize, credit: Credit) -> Option<Fetched> {
        if let Some(news) = self.members[id].news.pop_front() {
            return Some(news);
        }
        if !self.members[id].alive && !self.members[id].left {
            self.join_assigned(id);
            return self.look_assigned(id, credit);
        }
        if credit.messages == 0 {
            return None;
        }
        if credit.suspect {
            return Some(Fetched::Idle);
        }
        let told: Vec<(u32, u64)> =
            self.members[id].told.iter().map(|(unit, generation)| (*unit, *generation)).collect();
        for (number, generation) in told {
            let unit = &self.units[number as usize];
            let from = self.members[id].positions.get(&number).copied().unwrap_or(unit.committed);
            let waiting: Vec<u64> = (from..unit.log.len() as u64).collect();
            if unit.owner != Some(id) || unit.generation != generation || unit.revoking.is_some() || waiting.is_empty()
            {
                continue;
            }
            let count = self.fitting(credit, number, &waiting);
            self.members[id].positions.insert(number, from + count as u64);
            let attempt = |state: &Self, at: u64| state.units[number as usize].log[at_usize(at)].attempts + 1;
            let messages = waiting[..count].iter().map(|at| {
                let attempt = attempt(self, *at);
                self.hand_out(id, number, *at, false, attempt)
            });
            return Some(Fetched::Batch(Batch { unit: UnitId(number), messages: messages.collect() }));
        }
        None
    }

    /// The answer that carried this batch is lost: reading goes on before it.
    pub(crate) fn unanswered_assigned(&mut self, id: usize, batch: &Batch) {
        let first = batch.messages.iter().map(|incoming| incoming.token.0).min().unwrap_or(0);
        self.members[id].positions.insert(batch.unit.0, first);
    }

    pub(crate) fn told_assigned(&mut self, id: usize, units: &[UnitId]) {
        for UnitId(number) in units {
            let unit = &self.units[*number as usize];
            let (generation, committed) = (unit.generation, unit.committed);
            let member = &mut self.members[id];
            member.told.insert(*number, generation);
            member.frontiers.remove(number);
            member.positions.insert(*number, committed);
        }
    }

    /// The member takes part, for the first time or again.
    pub(crate) fn join_assigned(&mut self, id: usize) {
        (self.members[id].alive, self.members[id].heard) = (true, Some(self.now));
        self.rebalance();
    }

    /// Gives free units to members, and asks for those that are to move.
    pub(crate) fn rebalance(&mut self) {
        let living: Vec<usize> = (0..self.members.len()).filter(|id| self.members[*id].alive).collect();
        for number in 0..self.units.len() {
            if living.is_empty() {
                continue;
            }
            let target = living[(number + self.rotation) % living.len()];
            let id = UnitId(u32::try_from(number).unwrap_or(0));
            let unit = &mut self.units[number];
            match unit.owner {
                None => {
                    (unit.owner, unit.generation) = (Some(target), unit.generation + 1);
                    self.members[target].news.push_back(Fetched::Assigned(vec![id]));
                    self.note(|| format!("unit {number} to {}", self.members[target].name));
                }
                Some(owner) if owner != target && unit.revoking.is_none() => {
                    let (release, released) = Release::new(vec![id]);
                    unit.revoking = Some(Revoking { released, since: None });
                    self.members[owner].news.push_back(Fetched::Revoking(release));
                    self.faults.count("revocations");
                    self.note(|| format!("unit {number} is revoked of {}", self.members[owner].name));
                }
                Some(_) => {}
            }
        }
    }

    /// Ends sessions that ran out, and moves what was released.
    pub(crate) fn let_sessions_pass(&mut self) {
        for id in 0..self.members.len() {
            let over = |heard: Instant| heard + self.setup.lease <= self.now;
            if self.members[id].alive && self.members[id].heard.is_some_and(over) {
                self.expire_assigned(id);
            }
        }
        for number in 0..self.units.len() {
            let Some(revoking) = &mut self.units[number].revoking else { continue };
            let mut waker = Context::from_waker(Waker::noop());
            let released = pin!(revoking.released.wait()).poll(&mut waker) == Poll::Ready(());
            if let (true, Some(owner)) = (released, self.units[number].owner) {
                self.check_release(owner, number);
                self.members[owner].told.remove(&u32::try_from(number).unwrap_or(0));
                self.free(number);
                self.rebalance();
            }
        }
    }

    /// The member's session ends: its units go elsewhere.
    pub(crate) fn expire_assigned(&mut self, id: usize) {
        self.note(|| format!("{}'s session is over", self.members[id].name));
        self.members[id].alive = false;
        for number in 0..self.units.len() {
            if self.units[number].owner == Some(id) {
                self.faults.count("units lost");
                self.take_away(id, number);
            }
        }
        self.rebalance();
    }

    fn take_away(&mut self, id: usize, number: usize) {
        let unit = UnitId(u32::try_from(number).unwrap_or(0));
        let generation = self.units[number].generation;
        for handout in 0..self.handouts.len() {
            let held = &self.handouts[handout];
            if (held.member, held.unit, held.generation) == (id, unit.0, generation) {
                self.lose(handout);
            }
        }
        self.free(number);
        let news = &mut self.members[id].news;
        news.retain(|news| !matches!(news, Fetched::Revoking(release) if release.units.contains(&unit)));
        let untold = news.iter().position(|news| matches!(news, Fetched::Assigned(units) if units.contains(&unit)));
        match untold {
            Some(at) => drop(news.remove(at)),
            None => news.push_back(Fetched::Lost(vec![unit])),
        }
    }

    /// Whether its owner had all the time it may take to give the unit up.
    pub(crate) fn is_overdue(&self, number: usize) -> bool {
        let since = self.units[number].revoking.as_ref().and_then(|revoking| revoking.since);
        since.is_some_and(|since| self.now.duration_since(since) >= self.setup.drain)
    }

    /// The unit has no owner any more; what was not settled comes again.
    pub(crate) fn free(&mut self, number: usize) {
        let overdue = self.is_overdue(number);
        let unit = &mut self.units[number];
        (unit.owner, unit.revoking) = (None, None);
        let (generation, committed) = (unit.generation, unit.committed);
        for handout in &mut self.handouts {
            let of_it = (handout.unit as usize, handout.generation) == (number, generation);
            if of_it && !handout.ended {
                handout.ended = true;
                self.members[handout.member].lost_something |= handout.is_started() && (overdue || !handout.durable);
                // A frontier alone cannot carry what was done above an unfinished head.
                if handout.token >= committed && handout.is_decided() {
                    handout.excused = true;
                    self.messages[handout.message].disturbed = true;
                }
            }
        }
    }

    pub(crate) fn settle_assigned(
        &mut self,
        id: usize,
        settlement: &Settlement,
        told: &std::collections::BTreeMap<u32, u64>,
    ) -> Vec<(UnitId, Token)> {
        let mut lost = Vec::new();
        for settled in &settlement.units {
            let number = settled.unit.0 as usize;
            let unit = &self.units[number];
            if unit.owner == Some(id) && told.get(&settled.unit.0) == Some(&unit.generation) {
                self.settle_unit(id, settled);
            } else {
                lost.extend(settled.acked.iter().map(|token| (settled.unit, *token)));
                lost.extend(settled.others.iter().map(|(token, _)| (settled.unit, *token)));
            }
        }
        lost
    }

    fn settle_unit(&mut self, id: usize, settled: &UnitSettlements) {
        let unit = settled.unit.0;
        for token in &settled.acked {
            if self.mark_durable(id, unit, token.0) {
                let message = self.units[unit as usize].log[at_usize(token.0)].message;
                self.messages[message].acked += 1;
            }
        }
        for (token, disposition) in &settled.others {
            if !matches!(disposition, Disposition::Keep { .. }) && !self.mark_durable(id, unit, token.0) {
                continue;
            }
            match disposition {
                Disposition::Later { delay, attempts, .. } => self.delay(unit, token.0, *attempts, self.now + *delay),
                Disposition::Dead { .. } => {
                    let message = self.units[unit as usize].log[at_usize(token.0)].message;
                    self.messages[message].dead += 1;
                }
                Disposition::Keep { .. } => {}
                Disposition::Return { .. } => self.violated("a delivery is returned by leaving only"),
            }
        }
        if let Some(frontier) = settled.frontier {
            let committed = self.units[unit as usize].committed;
            self.require(frontier.0 >= committed || frontier.0 + 1 == committed, || {
                format!("the frontier of unit {unit} falls to {} below {committed}", frontier.0)
            });
            self.units[unit as usize].committed = committed.max(frontier.0 + 1);
        }
    }

    /// Marks the decision on a token; `false` when it was marked before.
    fn mark_durable(&mut self, id: usize, unit: u32, token: u64) -> bool {
        let generation = self.units[unit as usize].generation;
        let mut fresh = false;
        for handout in &mut self.handouts {
            let same =
                (handout.member, handout.unit, handout.token, handout.generation) == (id, unit, token, generation);
            if same && !handout.durable {
                (handout.durable, fresh) = (true, true);
            }
        }
        fresh
    }

    /// The member lives; returns what it says it holds and does not.
    pub(crate) fn renew_assigned(&mut self, id: usize, held: &[Held]) -> Vec<(UnitId, Token)> {
        if !self.members[id].alive && !self.members[id].left {
            self.join_assigned(id);
        }
        self.members[id].heard = Some(self.now);
        let told = &self.members[id].told;
        let is_mine = |unit: &UnitId| {
            let owned = &self.units[unit.0 as usize];
            owned.owner == Some(id) && told.get(&unit.0) == Some(&owned.generation)
        };
        let lost = held.iter().filter(|held| !is_mine(&held.unit));
        lost.flat_map(|held| held.tokens.iter().map(|token| (held.unit, *token))).collect()
    }

    pub(crate) fn leave_assigned(&mut self, id: usize) {
        self.members[id].alive = false;
        for number in 0..self.units.len() {
            if self.units[number].owner == Some(id) {
                self.free(number);
            }
        }
        self.rebalance();
    }
}

//! Units that all members share, as with Redis: a pending list, a lease for each entry, takeover. Uses `acked` only.

use tokio::time::Instant;
use zephcast_core::driver::{Batch, Credit, Disposition, Fetched, Held, Incoming, Returned, Settlement};
use zephcast_core::{Token, UnitId};

use crate::broker::{Delayed, Entry, Place, State, at_usize};

impl State {
    pub(crate) fn look_shared(&mut self, id: usize, credit: Credit) -> Option<Fetched> {
        if !self.members[id].introduced {
            self.members[id].introduced = true;
            return Some(Fetched::Assigned(self.unit_ids()));
        }
        if credit.messages == 0 {
            return None;
        }
        if credit.suspect {
            return Some(self.one_suspect(id).map_or(Fetched::Idle, Fetched::Batch));
        }
        if let Some(batch) = self.held_before(id, credit) {
            return Some(Fetched::Batch(batch));
        }
        let units = self.units.len();
        for unit in (0..units).map(|n| (n + self.rotation) % units) {
            let ready = self.places(unit, |_, place| matches!(place, Place::Ready { suspect: false }));
            if ready.is_empty() {
                continue;
            }
            self.rotation = unit + 1;
            let unit = u32::try_from(unit).unwrap_or(0);
            let count = self.fitting(credit, unit, &ready);
            let messages = ready[..count].iter().map(|offset| self.hand_out_shared(id, unit, *offset, false)).collect();
            return Some(Fetched::Batch(Batch { unit: UnitId(unit), messages }));
        }
        self.first_suspect(id).map(|_| Fetched::Suspects)
    }

    fn unit_ids(&self) -> Vec<UnitId> {
        (0..self.setup.units).map(UnitId).collect()
    }

    fn places(&self, unit: usize, wanted: impl Fn(u64, Place) -> bool) -> Vec<u64> {
        let numbered = (0..).zip(&self.units[unit].log);
        numbered.filter(|(offset, entry)| wanted(*offset, entry.place)).map(|(offset, _)| offset).collect()
    }

    /// The first message that its owner left unsettled for longer than a lease.
    fn first_suspect(&self, id: usize) -> Option<(u32, u64)> {
        (0..self.setup.units).find_map(|unit| {
            let suspects = self.places(unit as usize, |_, place| match place {
                Place::Ready { suspect } => suspect,
                Place::Held { handout, until } => until <= self.now && self.handouts[handout].member != id,
                Place::Done { .. } => false,
            });
            suspects.first().map(|offset| (unit, *offset))
        })
    }

    fn one_suspect(&mut self, id: usize) -> Option<Batch> {
        let (unit, offset) = self.first_suspect(id)?;
        if let Place::Held { handout, .. } = self.units[unit as usize].log[at_usize(offset)].place {
            self.faults.count("takeovers");
            self.lose(handout);
        }
        self.check_suspects(id);
        let messages = vec![self.hand_out_shared(id, unit, offset, true)];
        Some(Batch { unit: UnitId(unit), messages })
    }

    /// After an error the answer to an earlier fetch may be missing: what the member holds is handed out once more.
    fn held_before(&mut self, id: usize, credit: Credit) -> Option<Batch> {
        let from = self.members[id].repeat?;
        let mine = |state: &Self, place: Place| match place {
            Place::Held { handout, .. } => {
                let handout = &state.handouts[handout];
                handout.member == id && !handout.suspect
            }
            Place::Ready { .. } | Place::Done { .. } => false,
        };
        for unit in from.0..self.setup.units {
            let first = if unit == from.0 { from.1 } else { 0 };
            let held = self.places(unit as usize, |offset, place| offset >= first && mine(self, place));
            if held.is_empty() {
                continue;
            }
            let count = self.fitting(credit, unit, &held);
            self.members[id].repeat = Some((unit, held[count - 1] + 1));
            let messages = held[..count].iter().map(|offset| self.hand_out_again(id, unit, *offset)).collect();
            return Some(Batch { unit: UnitId(unit), messages });
        }
        self.members[id].repeat = None;
        None
    }

    fn hand_out_shared(&mut self, id: usize, unit: u32, offset: u64, suspect: bool) -> Incoming {
        let until = self.now + self.setup.lease;
        let entry = &mut self.units[unit as usize].log[at_usize(offset)];
        entry.attempts += 1;
        entry.place = Place::Held { handout: self.handouts.len(), until };
        let attempt = entry.attempts;
        self.hand_out(id, unit, offset, suspect, attempt)
    }

    fn hand_out_again(&mut self, id: usize, unit: u32, offset: u64) -> Incoming {
        let number = self.handouts.len();
        let entry = &mut self.units[unit as usize].log[at_usize(offset)];
        if let Place::Held { handout, .. } = &mut entry.place {
            *handout = number;
        }
        let attempt = entry.attempts;
        self.hand_out(id, unit, offset, false, attempt)
    }

    /// The answer that carried this batch is lost.
    pub(crate) fn unanswered_shared(&mut self, batch: &Batch) {
        for incoming in batch.messages.iter().filter(|incoming| incoming.suspect) {
            let entry = &mut self.units[batch.unit.0 as usize].log[at_usize(incoming.token.0)];
            entry.attempts -= 1;
            entry.place = Place::Ready { suspect: true };
        }
    }

    pub(crate) fn settle_shared(&mut self, id: usize, settlement: &Settlement) -> Vec<(UnitId, Token)> {
        let mut lost = Vec::new();
        for settled in &settlement.units {
            let unit = settled.unit.0;
            for token in &settled.acked {
                match self.mine(id, unit, token.0) {
                    Some(true) => self.done(id, unit, token.0, |record| record.acked += 1),
                    Some(false) => {}
                    None => lost.push((settled.unit, *token)),
                }
            }
            for (token, disposition) in &settled.others {
                match self.mine(id, unit, token.0) {
                    Some(true) => self.dispose_shared(id, unit, token.0, disposition),
                    Some(false) => {}
                    None => lost.push((settled.unit, *token)),
                }
            }
        }
        lost
    }

    /// Whether the member holds an entry; `Some(false)` when it has settled it before.
    fn mine(&self, id: usize, unit: u32, offset: u64) -> Option<bool> {
        match self.units[unit as usize].log[at_usize(offset)].place {
            Place::Held { handout, .. } => (self.handouts[handout].member == id).then_some(true),
            Place::Done { by } => (by == id).then_some(false),
            Place::Ready { .. } => None,
        }
    }

    fn done(&mut self, id: usize, unit: u32, offset: u64, count: impl FnOnce(&mut crate::ledger::Record)) {
        let entry = &mut self.units[unit as usize].log[at_usize(offset)];
        entry.place = Place::Done { by: id };
        let message = entry.message;
        count(&mut self.messages[message]);
        let same = |handout: &&mut crate::ledger::Handout| {
            (handout.member, handout.unit, handout.token) == (id, unit, offset) && !handout.lost
        };
        for handout in self.handouts.iter_mut().filter(same) {
            (handout.durable, handout.ended) = (true, true);
        }
        // What was lost and came back while its settlement was on its way is settled all the same.
        let of_it = |handout: &&mut crate::ledger::Handout| {
            (handout.member, handout.unit, handout.token) == (id, unit, offset) && handout.delivered
        };
        if let Some(decided) = self.handouts.iter_mut().rev().find(of_it) {
            decided.durable = true;
        }
    }

    fn dispose_shared(&mut self, id: usize, unit: u32, offset: u64, disposition: &Disposition) {
        match disposition {
            Disposition::Later { delay, attempts, .. } => {
                self.done(id, unit, offset, |_| {});
                self.delay(unit, offset, *attempts, self.now + *delay);
            }
            Disposition::Dead { .. } => self.done(id, unit, offset, |record| record.dead += 1),
            Disposition::Keep { attempts } => {
                self.units[unit as usize].log[at_usize(offset)].attempts = attempts + 1;
            }
            Disposition::Return { .. } => self.violated("a delivery is returned by leaving only"),
        }
    }

    pub(crate) fn delay(&mut self, unit: u32, offset: u64, attempts: u32, due: Instant) {
        let Entry { message, origin, .. } = self.units[unit as usize].log[at_usize(offset)];
        let entry = Entry { message, origin, attempts, place: Place::Ready { suspect: false } };
        self.delayed.push(Delayed { due, unit, entry });
    }

    /// Begins the lease of what is held anew; returns what is not held.
    pub(crate) fn renew_shared(&mut self, id: usize, held: &[Held]) -> Vec<(UnitId, Token)> {
        let fresh = self.now + self.setup.lease;
        let mut lost = Vec::new();
        for Held { unit, tokens } in held {
            for token in tokens {
                let entry = &mut self.units[unit.0 as usize].log[at_usize(token.0)];
                match &mut entry.place {
                    Place::Held { handout, until } if self.handouts[*handout].member == id => *until = fresh,
                    _ => lost.push((*unit, *token)),
                }
            }
        }
        lost
    }

    pub(crate) fn leave_shared(&mut self, id: usize, returned: &[Returned]) {
        for Returned { unit, token, attempts } in returned {
            let entry = &mut self.units[unit.0 as usize].log[at_usize(token.0)];
            let Place::Held { handout, .. } = entry.place else { continue };
            let held = &self.handouts[handout];
            if held.member == id {
                // A suspect that was not tried has not proved its innocence.
                let suspect = held.suspect && *attempts < held.attempt;
                (entry.place, entry.attempts) = (Place::Ready { suspect }, *attempts);
            }
        }
        // What it was given by an answer that was lost was not tried.
        for entry in self.units.iter_mut().flat_map(|unit| &mut unit.log) {
            let Place::Held { handout, .. } = entry.place else { continue };
            if self.handouts[handout].member == id && !self.handouts[handout].received {
                (entry.place, entry.attempts) = (Place::Ready { suspect: false }, entry.attempts - 1);
            }
        }
    }

    /// The lease of everything that a member holds ends at once.
    pub(crate) fn expire_shared(&mut self, id: usize) {
        let now = self.now;
        for entry in self.units.iter_mut().flat_map(|unit| &mut unit.log) {
            if let Place::Held { handout, until } = &mut entry.place
                && self.handouts[*handout].member == id
            {
                *until = now;
            }
        }
    }
}

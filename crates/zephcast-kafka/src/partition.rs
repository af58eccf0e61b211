//! One partition that a member has: what was read, what is out, what is settled, and what is committed of that.
//!
//! A plain state machine without I/O or clock. Invariants:
//! - the place never passes a record that is not settled, and never falls within an assignment;
//! - nothing is handed out that a durable place does not reach, so that whoever comes after a death finds everything that
//!   may have been out; but for as long as the coordinator answers no commit, see [`Assignment`](crate::assignment::Assignment);
//! - a suspect is handed out only after its attempt is durable, and nothing of the partition beside it.

mod gaps;
mod handing;
mod suspects;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zephcast_core::Token;
use zephcast_core::driver::Incoming;

pub(crate) use self::gaps::Gap;
use crate::place::{Attempts, Place};
use crate::ranges::Ranges;

/// How far ahead of what is out the place reaches at first, in records. As much has to be taken one at a time after a
/// death.
const SHORTEST_REACH: i64 = 128;
/// How far at most, where so much is handed out that a commit could not keep up otherwise.
const LONGEST_REACH: i64 = 16_384;
/// More records than this that may have been out at a death are not taken one at a time but a few at a time; if that ends
/// in another death, those few are suspects.
const MOST_SUSPECTS: i64 = 2 * SHORTEST_REACH;

/// A record that was read: when it is due, and what to hand out.
pub(crate) struct Record {
    pub(crate) due_ms: Option<u64>,
    pub(crate) incoming: Incoming,
}

impl Record {
    fn is_due(&self, now_ms: u64) -> bool {
        self.due_ms.is_none_or(|due| due <= now_ms)
    }
}

pub(crate) struct Partition {
    /// Tells this assignment from earlier ones of the same partition: the second part of each token.
    assignment: u64,
    /// Whether records are handed out in the order of their offsets; those of a retry topic are when they are due.
    in_order: bool,
    /// The first record that is not settled.
    next: i64,
    /// What is settled, or does not exist, beyond it.
    done: Ranges,
    /// Before this offset everything was read.
    read: i64,
    /// Read and not handed out, in order.
    waiting: VecDeque<Record>,
    waiting_bytes: usize,
    /// Before this offset everything was handed out, where that goes in order.
    handed: i64,
    in_flight: u64,
    /// Since when something has been in flight, in milliseconds since the Unix epoch.
    busy_since_ms: u64,
    attempts: BTreeMap<i64, Attempts>,
    /// What is before this offset and not settled may have killed its owner.
    suspects_until: i64,
    /// Suspects that were handed out and of which nothing was heard since.
    accused: BTreeSet<i64>,
    /// Up to here little is handed out at a time.
    careful_until: i64,
    /// How far the durable place reaches; nothing beyond is handed out.
    reach: i64,
    /// By how much it is to be ahead of what is handed out.
    stride: i64,
    /// Raised with every change that a commit has to tell.
    version: u64,
    /// The version that is durable.
    durable: u64,
    /// Whether something was settled that is not durable.
    undurable: bool,
    /// Whether it is about to be given up, so that nothing more is handed out.
    stopped: bool,
    /// Whether an error came instead of a record, so that the library's position is not to be believed.
    misled: bool,
    /// Whether one did since the last gap was looked at.
    erred: bool,
    /// Where a gap was that came with an error, and how often it was fetched again.
    tries: (i64, u32),
    /// Whether nothing is fetched for it, since enough is waiting that cannot be handed out.
    pub(crate) paused: bool,
}

/// What a commit tells of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) place: Place,
    assignment: u64,
    version: u64,
    /// Whether what is handed out was about to come to the end of what the durable place reaches.
    pressed: bool,
}

impl Partition {
    /// A partition whose owner before left this place.
    pub(crate) fn new(assignment: u64, in_order: bool, place: Place) -> Self {
        let Place { next, done, reach, attempts, .. } = place;
        // Whoever had it before ended in good order, unless the place reaches beyond what is settled.
        let doubt = reach.unwrap_or(next);
        let few = doubt - next <= MOST_SUSPECTS;
        Self {
            assignment,
            in_order,
            next,
            done,
            read: next,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            handed: next,
            in_flight: 0,
            busy_since_ms: 0,
            attempts,
            suspects_until: if few { doubt } else { next },
            accused: BTreeSet::new(),
            careful_until: doubt,
            reach: next,
            stride: SHORTEST_REACH,
            version: 1,
            durable: 0,
            undurable: false,
            stopped: false,
            misled: false,
            erred: false,
            tries: (0, 0),
            paused: false,
        }
    }

    /// Where the next record is to be read.
    pub(crate) fn position(&self) -> i64 {
        self.read
    }

    /// Records that were read and not handed out, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting_bytes)
    }

    /// Whether a record at this offset is wanted: it was not read before, and is not settled. What lies between it and
    /// the one before does not exist.
    pub(crate) fn wants(&mut self, offset: i64) -> bool {
        if self.is_behind(offset) {
            return false;
        }
        self.pass_to(offset);
        self.read = offset + 1;
        !self.done.contains(offset) && offset >= self.next
    }

    /// Takes a record in, which becomes one of this assignment.
    pub(crate) fn push(&mut self, mut record: Record) {
        let incoming = &mut record.incoming;
        let attempts = self.attempts(offset(incoming.token));
        incoming.token.1 = self.assignment;
        incoming.attempt = incoming.attempt.max(attempts.count.saturating_add(1));
        incoming.redelivered |= attempts.count > 0;
        incoming.first_failed_ms = incoming.first_failed_ms.or(attempts.first_failed_ms);
        self.waiting_bytes += incoming.message.byte_len();
        self.waiting.push_back(record);
    }

    /// What is known of the attempts of a record.
    pub(crate) fn attempts(&self, offset: i64) -> Attempts {
        self.attempts.get(&offset).copied().unwrap_or_default()
    }

    /// Whether the next commit may be waited for before anything more is handed out.
    pub(crate) fn wants_reach(&self) -> bool {
        if !self.in_order {
            // Whatever was read may be due first.
            return self.read > self.reach;
        }
        let wanted = if self.is_careful() { self.next + SHORTEST_REACH / 2 } else { self.handed + self.stride / 2 };
        wanted >= self.reach && !self.has_suspects()
    }

    fn is_careful(&self) -> bool {
        self.in_order && self.next < self.careful_until
    }

    /// From here on nothing is handed out.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Takes acks in, and up to where everything that was handed out is settled. Those of an earlier assignment are
    /// returned: they came too late.
    pub(crate) fn ack(&mut self, frontier: Option<Token>, acked: &[Token]) -> Vec<Token> {
        let mut late = Vec::new();
        let mut settled = 0;
        let frontier = frontier.filter(|token| self.in_order && token.1 == self.assignment).map(offset);
        for token in acked {
            if token.1 != self.assignment {
                late.push(*token);
                continue;
            }
            settled += u64::from(self.is_open(*token));
            let offset = offset(*token);
            if frontier.is_none_or(|frontier| offset > frontier) {
                self.done.insert(offset);
                self.accused.remove(&offset);
            }
        }
        self.in_flight = self.in_flight.saturating_sub(settled);
        let from = frontier.map_or(self.next, |frontier| self.next.max(frontier + 1));
        self.advance(from);
        if settled > 0 || frontier.is_some() {
            self.changed();
        }
        late
    }

    /// A record was settled otherwise than by an ack. `false` when that came too late.
    pub(crate) fn settle(&mut self, token: Token) -> bool {
        if token.1 != self.assignment {
            return false;
        }
        if self.is_open(token) {
            self.done.insert(offset(token));
            self.accused.remove(&offset(token));
            self.in_flight = self.in_flight.saturating_sub(1);
            self.advance(self.next);
            self.changed();
        }
        true
    }

    /// Whether a token is of this assignment.
    pub(crate) fn is_current(&self, token: Token) -> bool {
        token.1 == self.assignment
    }

    /// Whether a token is of this assignment, and its record not settled.
    pub(crate) fn is_open(&self, token: Token) -> bool {
        self.is_current(token) && offset(token) >= self.next && !self.done.contains(offset(token))
    }

    /// So many attempts of a record count, if it is not settled meanwhile.
    pub(crate) fn keep(&mut self, token: Token, attempts: Attempts) -> bool {
        if !self.is_open(token) {
            return self.is_current(token);
        }
        if attempts == Attempts::default() {
            self.attempts.remove(&offset(token));
        } else {
            self.attempts.insert(offset(token), attempts);
        }
        self.changed();
        true
    }

    /// A delivery goes back unsettled. One that was not tried has the attempts that it had before.
    pub(crate) fn give_back(&mut self, token: Token, attempts: u32) {
        let first_failed_ms = self.attempts(offset(token)).first_failed_ms.filter(|_| attempts > 0);
        self.accused.remove(&offset(token));
        self.keep(token, Attempts { count: attempts, first_failed_ms });
    }

    /// How long something has been in flight is to be told.
    pub(crate) fn report(&mut self) {
        if self.in_flight > 0 {
            self.version += 1;
        }
    }

    /// Moves the place to `offset`, and over everything that is settled there.
    fn advance(&mut self, offset: i64) {
        self.next = self.done.pass(offset.max(self.next));
        self.read = self.read.max(self.next);
        self.handed = self.handed.max(self.next);
        if self.attempts.first_key_value().is_some_and(|(offset, _)| *offset < self.next) {
            self.attempts = self.attempts.split_off(&self.next);
        }
        if self.accused.first().is_some_and(|offset| *offset < self.next) {
            self.accused = self.accused.split_off(&self.next);
        }
    }

    fn changed(&mut self) {
        self.version += 1;
        self.undurable = true;
    }

    /// Whether a commit would tell something new.
    pub(crate) fn is_changed(&self) -> bool {
        self.version > self.durable
    }

    /// Whether something that was settled is not durable.
    pub(crate) fn is_undurable(&self) -> bool {
        self.undurable
    }

    /// What to commit while the partition is ours.
    pub(crate) fn snapshot(&mut self, oldest_ms: Option<u64>, lease_ms: u64) -> Snapshot {
        let mut place = self.place();
        place.reach = Some(self.next_reach());
        place.busy_since_ms = Some(self.busy_since_ms).filter(|_| self.in_flight > 0);
        place.oldest_ms = oldest_ms.filter(|_| self.in_flight > 0);
        place.lease_ms = Some(lease_ms);
        self.snapshot_of(place)
    }

    /// What to commit when it is given up in good order. Suspects that nobody proved innocent stay suspects.
    pub(crate) fn farewell(&mut self) -> Snapshot {
        // Of those nobody said that they were tried.
        while let Some(offset) = self.accused.pop_first() {
            self.acquit(offset);
        }
        let mut place = self.place();
        place.in_flight = 0;
        place.reach = (self.next < self.suspects_until).then_some(self.suspects_until);
        self.snapshot_of(place)
    }

    fn place(&self) -> Place {
        Place {
            next: self.next,
            done: self.done.clone(),
            reach: None,
            in_flight: self.in_flight,
            busy_since_ms: None,
            oldest_ms: None,
            lease_ms: None,
            attempts: self.attempts.clone(),
        }
    }

    fn snapshot_of(&self, place: Place) -> Snapshot {
        Snapshot { place, assignment: self.assignment, version: self.version, pressed: self.wants_reach() }
    }

    /// How far the next place is to reach.
    fn next_reach(&self) -> i64 {
        let wanted = match self.in_order {
            false => self.read + SHORTEST_REACH,
            true if self.is_careful() => self.next + SHORTEST_REACH,
            true => self.handed + self.stride,
        };
        wanted.max(self.suspects_until).max(self.reach)
    }

    /// A commit is durable. `false` when it was one of an earlier assignment.
    pub(crate) fn committed(&mut self, snapshot: &Snapshot) -> bool {
        if snapshot.assignment != self.assignment {
            return false;
        }
        self.durable = self.durable.max(snapshot.version);
        self.undurable &= self.is_changed();
        let reach = snapshot.place.reach.unwrap_or(self.reach);
        if reach > self.reach {
            self.stride = match (self.is_held_up(), snapshot.pressed) {
                (true, _) => (self.stride * 2).min(LONGEST_REACH),
                (false, true) => self.stride,
                (false, false) => (self.stride / 2).max(SHORTEST_REACH),
            };
            self.reach = reach;
        }
        true
    }
}

pub(crate) fn offset(token: Token) -> i64 {
    token.0.cast_signed()
}

fn offset_of(incoming: &Incoming) -> i64 {
    offset(incoming.token)
}

#[cfg(test)]
mod tests;

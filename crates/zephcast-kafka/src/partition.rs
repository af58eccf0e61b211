//! One partition that a member has: what was read, what is out, what is settled, and what is committed of that.
//!
//! A plain state machine without I/O or clock. Invariants:
//! - the place never passes a record that is not settled, and never falls within an assignment;
//! - nothing is handed out that a durable place does not reach, so that whoever comes after a death finds everything that
//!   may have been out; but for as long as the coordinator answers no commit, see [`Assignment`](crate::assignment::Assignment);
//! - a suspect is handed out only after its attempt is durable, and nothing of the partition beside it.

mod gaps;
mod handing;
mod reach;
mod suspects;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use zephcast_core::Token;
use zephcast_core::driver::Incoming;

pub(crate) use self::gaps::Gap;
use self::gaps::Library;
use self::reach::{MOST_SUSPECTS, Reach};
use self::waiting::Waiting;
use crate::place::{Attempts, Place, are_different};
use crate::ranges::Ranges;

/// A record that was read: when it is due, and what to hand out.
pub(crate) struct Record {
    pub(crate) due_ms: Option<u64>,
    pub(crate) incoming: Incoming,
}

pub(crate) struct Partition {
    /// The id of its topic; 0 as long as that is not known.
    topic: u64,
    /// The id of the topic that has its name now, if its own is gone.
    gone_for: Option<u64>,
    /// Tells this assignment from earlier ones of the same partition: the second part of each token.
    assignment: u64,
    /// The first record that is not settled.
    next: i64,
    /// What is settled, or does not exist, beyond it.
    done: Ranges,
    /// Before this offset everything was read.
    read: i64,
    waiting: Waiting,
    reach: Reach,
    in_flight: u64,
    /// Since when something has been in flight, in milliseconds since the Unix epoch.
    busy_since_ms: u64,
    attempts: BTreeMap<i64, Attempts>,
    /// Not settled, and may have killed their owner.
    suspects: Ranges,
    /// Suspects that were handed out and of which nothing was heard since.
    accused: BTreeSet<i64>,
    /// Raised with every change that a commit has to tell.
    version: u64,
    /// The version that is durable.
    durable: u64,
    /// Before this offset everything is settled, durably.
    durable_next: i64,
    /// The version with the last settlement.
    settled: u64,
    /// Whether it is about to be given up, so that nothing more is handed out.
    stopped: bool,
    library: Library,
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
    /// A partition whose owner before left this place. `in_order`: its records go in the order of their offsets; those of a
    /// retry topic do when they are due.
    pub(crate) fn new(assignment: u64, in_order: bool, place: Place) -> Self {
        let Place { next, done, out, attempts, topic, .. } = place;
        // Whoever had it before ended in good order, unless something may be out.
        let mut suspects = out;
        if in_order && let Some(end) = suspects.end() {
            suspects.insert_run(next, end);
        }
        done.runs().for_each(|(first, after)| suspects.remove_run(first, after));
        suspects.remove_run(i64::MIN, next);
        let doubt = suspects.end().unwrap_or(next);
        let are_few = suspects.len() <= MOST_SUSPECTS.cast_unsigned();
        if in_order && !are_few {
            suspects = Ranges::default();
        }
        Self {
            topic,
            gone_for: None,
            assignment,
            next,
            done,
            read: next,
            waiting: Waiting::new(in_order),
            reach: Reach::new(in_order, next, doubt),
            in_flight: 0,
            busy_since_ms: 0,
            attempts,
            suspects,
            accused: BTreeSet::new(),
            version: 1,
            durable: 0,
            durable_next: next,
            settled: 0,
            stopped: false,
            library: Library::Follows,
            tries: (0, 0),
            paused: false,
        }
    }

    /// Whether records are handed out in the order of their offsets.
    fn is_in_order(&self) -> bool {
        matches!(self.reach, Reach::Ahead(_))
    }

    /// Before which offset nobody needs anything any more.
    pub(crate) fn durable_next(&self) -> i64 {
        self.durable_next
    }

    /// The topic of this name has this id: if it is another one than before, nothing more is handed out.
    pub(crate) fn topic_is(&mut self, topic: u64) {
        if self.topic == 0 {
            self.topic = topic;
        }
        self.gone_for = are_different(self.topic, topic).then_some(topic);
    }

    /// The id of the topic that came after its own, if that is gone.
    pub(crate) fn gone_for(&self) -> Option<u64> {
        self.gone_for
    }

    /// Where the next record is to be read.
    pub(crate) fn position(&self) -> i64 {
        self.read
    }

    /// Records that were read and not handed out, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting.bytes())
    }

    /// About how much memory those take that may have to wait long.
    pub(crate) fn parked_bytes(&self) -> usize {
        if self.is_blocked() { self.waiting.len() * size_of::<Record>() + self.waiting.bytes() } else { 0 }
    }

    /// Whether a record at this offset is wanted: it was not read before, and is not settled. What lies between it and
    /// the one before does not exist.
    pub(crate) fn wants(&mut self, offset: i64) -> bool {
        if self.is_behind(offset) {
            return false;
        }
        self.pass_to(offset);
        self.read = offset + 1;
        self.library = Library::Follows;
        !self.done.contains(offset) && offset >= self.next
    }

    /// Takes a record in, which becomes one of this assignment.
    pub(crate) fn push(&mut self, mut record: Record) {
        let incoming = &mut record.incoming;
        let attempts = self.attempts(offset(incoming.token));
        incoming.token.1 = self.assignment;
        incoming.attempt = incoming.attempt.max(attempts.count.saturating_add(1));
        incoming.redelivered |= attempts.count > 0 || self.reach.may_have_been_out(offset(incoming.token));
        incoming.first_failed_ms = incoming.first_failed_ms.or(attempts.first_failed_ms);
        self.waiting.push(record);
    }

    /// What is known of the attempts of a record.
    pub(crate) fn attempts(&self, offset: i64) -> Attempts {
        self.attempts.get(&offset).copied().unwrap_or_default()
    }

    /// Whether nothing is handed out.
    fn is_stopped(&self) -> bool {
        self.stopped || self.gone_for.is_some()
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
        let frontier = frontier.filter(|token| self.is_in_order() && token.1 == self.assignment).map(offset);
        for token in acked {
            if token.1 != self.assignment {
                late.push(*token);
                continue;
            }
            settled += u64::from(self.is_open(*token));
            let offset = offset(*token);
            if frontier.is_none_or(|frontier| offset > frontier) {
                self.close(offset);
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
            self.close(offset(token));
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

    /// A record is settled, beyond the place.
    fn close(&mut self, offset: i64) {
        self.done.insert(offset);
        self.accused.remove(&offset);
        self.suspects.remove_run(offset, offset + 1);
        self.reach.settled(offset);
    }

    /// Moves the place to `offset`, and over everything that is settled there.
    fn advance(&mut self, offset: i64) {
        self.next = self.done.pass(offset.max(self.next));
        self.read = self.read.max(self.next);
        self.suspects.remove_run(i64::MIN, self.next);
        self.reach.settled_before(self.next);
        if self.attempts.first_key_value().is_some_and(|(offset, _)| *offset < self.next) {
            self.attempts = self.attempts.split_off(&self.next);
        }
        if self.accused.first().is_some_and(|offset| *offset < self.next) {
            self.accused = self.accused.split_off(&self.next);
        }
    }

    fn changed(&mut self) {
        self.version += 1;
        self.settled = self.version;
    }

    /// Whether a commit would tell something new.
    pub(crate) fn is_changed(&self) -> bool {
        self.version > self.durable
    }

    /// Whether something that was settled is not durable.
    pub(crate) fn is_undurable(&self) -> bool {
        self.settled > self.durable
    }

    /// What to commit while the partition is ours.
    pub(crate) fn snapshot(&mut self, oldest_ms: Option<u64>, lease_ms: u64, now_ms: u64) -> Snapshot {
        let mut place = self.place();
        place.out = self.next_out(now_ms);
        place.busy_since_ms = Some(self.busy_since_ms).filter(|_| self.in_flight > 0);
        place.oldest_ms = oldest_ms.filter(|_| self.in_flight > 0);
        place.lease_ms = Some(lease_ms);
        self.snapshot_of(place, self.wants_reach(now_ms))
    }

    /// Of the suspects that are out nobody said that they were tried, and nobody has them any more.
    pub(crate) fn acquit_all(&mut self) {
        while let Some(offset) = self.accused.pop_first() {
            self.acquit(offset);
        }
    }

    /// What to commit when it is given up in good order. Suspects that nobody proved innocent stay suspects.
    pub(crate) fn farewell(&mut self) -> Snapshot {
        let mut place = self.place();
        place.in_flight = 0;
        place.out = self.suspects.clone();
        self.snapshot_of(place, false)
    }

    fn place(&self) -> Place {
        Place {
            next: self.next,
            done: self.done.clone(),
            out: Ranges::default(),
            in_flight: self.in_flight,
            busy_since_ms: None,
            oldest_ms: None,
            lease_ms: None,
            attempts: self.attempts.clone(),
            topic: self.topic,
        }
    }

    fn snapshot_of(&self, place: Place, pressed: bool) -> Snapshot {
        Snapshot { place, assignment: self.assignment, version: self.version, pressed }
    }

    /// A commit is durable, if it was one of this assignment.
    pub(crate) fn committed(&mut self, snapshot: &Snapshot) {
        if snapshot.assignment == self.assignment {
            self.durable = self.durable.max(snapshot.version);
            self.durable_next = self.durable_next.max(snapshot.place.next);
            self.extend_reach(&snapshot.place, snapshot.pressed);
        }
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

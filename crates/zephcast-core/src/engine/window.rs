//! What a member holds: deliveries in flight, bounded by count and bytes, and how far each unit is settled.
//!
//! A plain state machine without I/O or clock. Invariants:
//! - a token is open from its hand-in until it is settled, lost or returned, and only then frees its room;
//! - an ack is collected exactly once;
//! - a unit's frontier never passes an open token, never waits for a token that was never handed in, and never falls
//!   within an assignment.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::driver::{Held, Returned, Settlement, UnitSettlements};
use crate::{Token, UnitId};

use super::slots::{Epoch, Slots};

/// Fetches for which a settled token is remembered, so that one listed by the broker before it was settled and fetched
/// after is not delivered again.
const REMEMBERED_FETCHES: u64 = 2;

#[derive(Debug)]
pub(crate) struct Window {
    units: Vec<Unit>,
    /// Open deliveries and their bytes, over all units.
    open: usize,
    open_bytes: usize,
    /// Flights whose last delivery was collected, until its settlement is confirmed.
    settling: Vec<Arc<Slots>>,
    /// Confirmed flights with the fetch that was running then.
    remembered: VecDeque<(u64, Arc<Slots>)>,
    /// Completed fetches.
    fetches: u64,
}

/// What was in flight when an assignment ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) open: usize,
    /// Of those, the ones with an ack that was not collected.
    pub(crate) acked: u64,
}

#[derive(Debug)]
struct Unit {
    id: UnitId,
    epoch: Arc<Epoch>,
    /// In the order of hand-in; neighbouring closed pieces are one.
    pieces: VecDeque<Piece>,
    frontier: Option<Token>,
    highest: Option<Token>,
}

#[derive(Debug)]
enum Piece {
    Open(Tracked),
    /// Everything up to this token is closed.
    Closed(Token),
}

#[derive(Debug)]
struct Tracked {
    slots: Arc<Slots>,
    /// A bit of each that is settled.
    closed: u64,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            units: Vec::new(),
            open: 0,
            open_bytes: 0,
            settling: Vec::new(),
            remembered: VecDeque::new(),
            fetches: 0,
        }
    }

    /// Open deliveries and their bytes.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.open, self.open_bytes)
    }

    /// The present assignment of a unit, which begins when none is running.
    pub(crate) fn epoch(&mut self, id: UnitId) -> Arc<Epoch> {
        if let Some(unit) = self.units.iter().find(|unit| unit.id == id) {
            return unit.epoch.clone();
        }
        let epoch = Arc::new(Epoch::default());
        self.units.push(Unit { id, epoch: epoch.clone(), pieces: VecDeque::new(), frontier: None, highest: None });
        epoch
    }

    /// Every assignment that is running.
    pub(crate) fn assignments(&self) -> Vec<(UnitId, Arc<Epoch>)> {
        self.units.iter().map(|unit| (unit.id, unit.epoch.clone())).collect()
    }

    /// Counts a completed fetch and forgets what no later fetch can bring again.
    pub(crate) fn fetched(&mut self) {
        self.fetches += 1;
        while self.remembered.front().is_some_and(|(fetch, _)| fetch + REMEMBERED_FETCHES < self.fetches) {
            self.remembered.pop_front();
        }
    }

    /// The highest token that can be known at all: tokens of new messages are above every earlier one.
    pub(crate) fn highest(&self, id: UnitId) -> Option<Token> {
        self.units.iter().find(|unit| unit.id == id).and_then(|unit| unit.highest)
    }

    /// Whether a token is in flight, on its way to being settled, or was settled a moment ago.
    pub(crate) fn knows(&self, id: UnitId, token: Token) -> bool {
        self.flights(id).any(|slots| find(slots, token).is_some_and(|index| !slots.is_lost(index)))
    }

    /// Takes a flight in. Its slots carry the unit's present epoch.
    pub(crate) fn hand_in(&mut self, slots: Arc<Slots>) {
        let id = slots.unit();
        self.open += slots.len();
        self.open_bytes += slots.total_bytes();
        self.epoch(id);
        if let Some(unit) = self.units.iter_mut().find(|unit| unit.id == id) {
            unit.highest = unit.highest.max(Some(slots.highest()));
            unit.pieces.push_back(Piece::Open(Tracked { slots, closed: 0 }));
        }
    }

    /// Collects the acks that came since the last time, and how far each unit is settled.
    pub(crate) fn sweep(&mut self) -> Settlement {
        let mut settlement = Settlement::default();
        for unit in &mut self.units {
            let mut found = UnitSettlements::new(unit.id);
            for piece in &mut unit.pieces {
                let Piece::Open(tracked) = piece else { continue };
                let (count, bytes) = tracked.collect(&mut found);
                self.open -= count;
                self.open_bytes -= bytes;
            }
            unit.compact(&mut self.settling);
            let frontier = unit.advance();
            found.frontier = frontier;
            if frontier.is_some() || !found.acked.is_empty() {
                settlement.units.push(found);
            }
        }
        settlement
    }

    /// What was collected is durable: it is remembered for a while and then forgotten.
    pub(crate) fn confirmed(&mut self) {
        self.remembered.extend(self.settling.drain(..).map(|slots| (self.fetches, slots)));
    }

    /// Closes a delivery that was settled otherwise than by an ack. `false` when it was not open.
    pub(crate) fn close(&mut self, slots: &Slots, index: usize) -> bool {
        let Some(unit) = self.units.iter_mut().find(|unit| unit.id == slots.unit()) else { return false };
        let tracked = unit.pieces.iter_mut().find_map(|piece| match piece {
            Piece::Open(tracked) if std::ptr::eq(&raw const *tracked.slots, slots) => Some(tracked),
            _ => None,
        });
        if !tracked.is_some_and(|tracked| tracked.close(index)) {
            return false;
        }
        self.open -= 1;
        self.open_bytes -= slots.bytes(index);
        unit.compact(&mut self.settling);
        true
    }

    /// Another member has this message: here it is known no more, so that it is taken in when it comes again. Whether it was
    /// acked meanwhile; `None` when it was not open.
    pub(crate) fn lose(&mut self, id: UnitId, token: Token) -> Option<bool> {
        let mut open = None;
        for slots in self.flights(id) {
            if let Some(index) = find(slots, token).filter(|index| !slots.is_lost(*index)) {
                slots.lose(index);
                open = Some((slots.clone(), index));
            }
        }
        open.filter(|(slots, index)| self.close(slots, *index)).map(|(slots, index)| slots.is_acked(index))
    }

    /// Whether a settlement of this message is on its way: its answer says what became of it.
    pub(crate) fn is_decided(&self, id: UnitId, token: Token) -> bool {
        let is_decided = |slots: &Slots, index| slots.is_decided(index) && !slots.is_lost(index);
        self.flights(id).any(|slots| find(slots, token).is_some_and(|index| is_decided(slots, index)))
    }

    /// Everything of a unit that is in flight, on its way to being settled, or was settled a moment ago.
    fn flights(&self, id: UnitId) -> impl Iterator<Item = &Arc<Slots>> {
        let held = self.units.iter().filter(move |unit| unit.id == id).flat_map(|unit| &unit.pieces);
        let held = held.filter_map(|piece| match piece {
            Piece::Open(tracked) => Some(&tracked.slots),
            Piece::Closed(_) => None,
        });
        let past = self.settling.iter().chain(self.remembered.iter().map(|(_, slots)| slots));
        past.filter(move |slots| slots.unit() == id).chain(held)
    }

    /// Ends an assignment: nothing of the unit is ours any more. Acks that were not collected came too late.
    pub(crate) fn end(&mut self, id: UnitId) -> Ended {
        let mut ended = Ended::default();
        let Some(at) = self.units.iter().position(|unit| unit.id == id) else { return ended };
        let unit = self.units.swap_remove(at);
        unit.epoch.end();
        for_each_open(&unit, |slots, index| {
            ended.open += 1;
            ended.acked += u64::from(slots.is_acked(index));
            self.open_bytes -= slots.bytes(index);
        });
        self.open -= ended.open;
        ended
    }

    /// Every unit that is ours.
    pub(crate) fn units(&self) -> Vec<UnitId> {
        self.units.iter().map(|unit| unit.id).collect()
    }

    /// Everything open, for a renewal.
    pub(crate) fn held(&self) -> Vec<Held> {
        self.units
            .iter()
            .map(|unit| {
                let mut tokens = Vec::new();
                for_each_open(unit, |slots, index| tokens.push(slots.token(index)));
                Held { unit: unit.id, tokens }
            })
            .filter(|held| !held.tokens.is_empty())
            .collect()
    }

    /// Everything open, to be given back, and how many of them somebody has.
    pub(crate) fn returned(&self) -> (Vec<Returned>, u64) {
        let (mut returned, mut handed) = (Vec::with_capacity(self.open), 0);
        for unit in &self.units {
            for_each_open(unit, |slots, index| {
                handed += u64::from(slots.handed_at(index).is_some() && !slots.is_decided(index));
                let (token, attempts) = (slots.token(index), slots.attempts_made(index));
                returned.push(Returned { unit: unit.id, token, attempts });
            });
        }
        (returned, handed)
    }

    /// How many open deliveries of a unit somebody has and has not acked.
    pub(crate) fn started(&self, id: UnitId) -> usize {
        let mut count = 0;
        for unit in self.units.iter().filter(|unit| unit.id == id) {
            for_each_open(unit, |slots, index| count += usize::from(is_started(slots, index)));
        }
        count
    }

    /// When the delivery that somebody has had for longest was handed out.
    pub(crate) fn oldest_handed(&self) -> Option<u64> {
        let mut oldest = None;
        for unit in &self.units {
            for_each_open(unit, |slots, index| {
                if is_started(slots, index) {
                    oldest = oldest.into_iter().chain(slots.handed_at(index)).min();
                }
            });
        }
        oldest
    }
}

impl Unit {
    /// Turns finished pieces into closed ones, and neighbouring closed ones into one.
    fn compact(&mut self, settling: &mut Vec<Arc<Slots>>) {
        let finished = |piece: &Piece| matches!(piece, Piece::Open(tracked) if tracked.open() == 0);
        if !self.pieces.iter().any(finished) {
            return;
        }
        let mut kept: VecDeque<Piece> = VecDeque::with_capacity(self.pieces.len());
        for piece in self.pieces.drain(..) {
            let last = match piece {
                Piece::Open(tracked) if tracked.open() > 0 => {
                    kept.push_back(Piece::Open(tracked));
                    continue;
                }
                Piece::Open(tracked) => {
                    let last = tracked.slots.token(tracked.slots.len() - 1);
                    settling.push(tracked.slots);
                    last
                }
                Piece::Closed(last) => last,
            };
            match kept.back_mut() {
                Some(Piece::Closed(end)) => *end = last.max(*end),
                _ => kept.push_back(Piece::Closed(last)),
            }
        }
        self.pieces = kept;
    }

    /// Moves the frontier over everything closed at the head; says where it is if it moved.
    fn advance(&mut self) -> Option<Token> {
        let mut reached = None;
        if let Some(Piece::Closed(last)) = self.pieces.front() {
            reached = Some(*last);
            self.pieces.pop_front();
        }
        if let Some(Piece::Open(tracked)) = self.pieces.front() {
            reached = tracked.closed_prefix().or(reached);
        }
        if reached > self.frontier {
            self.frontier = reached;
            return reached;
        }
        None
    }
}

impl Tracked {
    /// How many are open.
    fn open(&self) -> usize {
        self.slots.len() - self.closed.count_ones() as usize
    }

    fn is_open(&self, index: usize) -> bool {
        self.closed & (1 << index) == 0
    }

    fn close(&mut self, index: usize) -> bool {
        let was_open = self.is_open(index);
        self.closed |= 1 << index;
        was_open
    }

    /// Closes what was acked since the last time; returns how many and how many bytes.
    fn collect(&mut self, found: &mut UnitSettlements) -> (usize, usize) {
        let mut fresh = self.slots.acked() & !self.closed;
        self.closed |= fresh;
        let (count, mut bytes) = (fresh.count_ones() as usize, 0);
        found.acked.reserve(count);
        while fresh != 0 {
            let index = fresh.trailing_zeros() as usize;
            fresh &= fresh - 1;
            bytes += self.slots.bytes(index);
            found.acked.push(self.slots.token(index));
            found.had_failures |= self.slots.had_failures(index);
        }
        (count, bytes)
    }

    /// The token up to which everything is closed from the start of this piece.
    fn closed_prefix(&self) -> Option<Token> {
        let prefix = self.closed.trailing_ones() as usize;
        prefix.checked_sub(1).map(|index| self.slots.token(index))
    }
}

/// Where a token stands in a flight. Nearly always flights are in order, so a binary search comes first.
fn find(slots: &Slots, token: Token) -> Option<usize> {
    let (mut low, mut high) = (0, slots.len());
    while low < high {
        let middle = low.midpoint(high);
        if slots.token(middle) < token { low = middle + 1 } else { high = middle }
    }
    if low < slots.len() && slots.token(low) == token {
        return Some(low);
    }
    (0..slots.len()).find(|index| slots.token(*index) == token)
}

fn is_started(slots: &Slots, index: usize) -> bool {
    slots.handed_at(index).is_some() && !slots.is_acked(index)
}

fn for_each_open(unit: &Unit, mut visit: impl FnMut(&Slots, usize)) {
    for piece in &unit.pieces {
        let Piece::Open(tracked) = piece else { continue };
        let slots = &tracked.slots;
        (0..slots.len()).filter(|index| tracked.is_open(*index)).for_each(|index| visit(slots, index));
    }
}

#[cfg(test)]
mod tests;

//! A consumer group: cursors, pending messages, members, dead letters.

mod balance;
mod dead_letters;
mod hand_out;
mod membership;
mod moving;
mod redeliveries;
mod ring;
mod roster;
mod settling;
mod status;
mod unit;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use tokio::time::Instant;
use zephcast_core::driver::Released;
use zephcast_core::{GroupName, UnitId};

use self::dead_letters::DeadLetters;
pub(crate) use self::hand_out::{Step, read_first};
pub(crate) use self::roster::MemberId;
use self::roster::Roster;
use self::unit::Unit;
use crate::lock::lock;
use crate::stream::Stream;

/// One group of one stream. Everything of it is behind one lock, which is taken once a batch.
///
/// Locks are taken in this order: the group's, then a partition's. Nothing is awaited under either.
#[derive(Debug)]
pub(crate) struct Group {
    name: GroupName,
    state: Mutex<State>,
}

/// A group's state. Time passes for it only when somebody looks: [`Group::open`] first ends what is over.
#[derive(Debug)]
pub(crate) struct State {
    units: Vec<Unit>,
    roster: Roster,
    /// Where the engines of members say that they let go of units.
    revocations: BTreeMap<u64, Released>,
    next_revocation: u64,
    dead: DeadLetters,
    /// Nobody finds the group any more; whoever has it hears so.
    deleted: bool,
}

/// A group's state at a moment, ready to be worked on.
pub(crate) struct Open<'a> {
    state: MutexGuard<'a, State>,
    group: &'a GroupName,
    stream: &'a Stream,
    now: Instant,
}

impl Group {
    /// A group that begins at these offsets, one for each unit.
    pub(crate) fn new(name: GroupName, cursors: impl IntoIterator<Item = u64>) -> Self {
        let units = (0..).map(UnitId).zip(cursors).map(|(id, cursor)| Unit::new(id, cursor)).collect();
        let state = State {
            units,
            roster: Roster::default(),
            revocations: BTreeMap::new(),
            next_revocation: 0,
            dead: DeadLetters::default(),
            deleted: false,
        };
        Self { name, state: Mutex::new(state) }
    }

    pub(crate) fn name(&self) -> &GroupName {
        &self.name
    }

    /// Locks the group and lets time pass: leases that ran out end, units that were released move on.
    pub(crate) fn open<'a>(&'a self, stream: &'a Stream) -> Open<'a> {
        let mut open = Open { state: lock(&self.state), group: &self.name, stream, now: Instant::now() };
        open.let_time_pass();
        open
    }
}

impl State {
    fn unit(&self, id: UnitId) -> Option<&Unit> {
        self.units.get(id.0 as usize)
    }

    fn unit_mut(&mut self, id: UnitId) -> Option<&mut Unit> {
        self.units.get_mut(id.0 as usize)
    }
}

//! The model broker: logs, members and time. What a member gets is in `shared` and `assigned`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use zephcast_core::driver::{Credit, Fetched, Released};

use crate::faults::{Faults, Link, Operation};
use crate::ledger::{Handout, Record};
use crate::schedule::{Flavour, Setup};

/// The broker, shared by all processes.
pub(crate) struct Broker {
    state: Mutex<State>,
    /// Signalled when something changed for somebody.
    pub(crate) changed: Notify,
}

pub(crate) struct State {
    pub(crate) setup: Setup,
    pub(crate) now: Instant,
    pub(crate) units: Vec<Unit>,
    pub(crate) delayed: Vec<Delayed>,
    pub(crate) members: Vec<Member>,
    pub(crate) processes: Vec<Link>,
    pub(crate) messages: Vec<Record>,
    pub(crate) handouts: Vec<Handout>,
    pub(crate) faults: Faults,
    /// Turns the assignment of units.
    pub(crate) rotation: usize,
    pub(crate) violations: Vec<String>,
    /// What happened, when somebody wants to read it.
    pub(crate) trace: bool,
    began: Instant,
    /// Payloads that the engine was given and has not let go.
    pub(crate) payloads: Arc<AtomicUsize>,
}

#[derive(Default)]
pub(crate) struct Unit {
    pub(crate) log: Vec<Entry>,
    /// Everything below is settled. Only where units are assigned.
    pub(crate) committed: u64,
    pub(crate) owner: Option<usize>,
    pub(crate) generation: u64,
    pub(crate) revoking: Option<Revoking>,
}

pub(crate) struct Revoking {
    pub(crate) released: Released,
    /// When the engine heard of it.
    pub(crate) since: Option<Instant>,
}

/// A message in a unit's log. One that came back by way of a delay has an entry of its own.
pub(crate) struct Entry {
    pub(crate) message: usize,
    pub(crate) origin: u64,
    /// Attempts that count.
    pub(crate) attempts: u32,
    pub(crate) place: Place,
}

/// Where an entry is. Only where units are shared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Ready { suspect: bool },
    Held { handout: usize, until: Instant },
    Done { by: usize },
}

pub(crate) struct Delayed {
    pub(crate) due: Instant,
    pub(crate) unit: u32,
    pub(crate) entry: Entry,
}

#[derive(Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) process: usize,
    pub(crate) alive: bool,
    pub(crate) heard: Option<Instant>,
    pub(crate) news: VecDeque<Fetched>,
    /// The assignments of which the engine was told.
    pub(crate) told: BTreeMap<u32, u64>,
    /// What the frontier of each of them was last.
    pub(crate) frontiers: BTreeMap<u32, u64>,
    /// Where reading goes on in each unit.
    pub(crate) positions: BTreeMap<u32, u64>,
    /// Its handlers keep the order of keys, not of units.
    pub(crate) by_key: bool,
    pub(crate) introduced: bool,
    /// Its engine lives: it has fetched.
    pub(crate) fetched: bool,
    /// After an error: from where on what it holds is handed out once more.
    pub(crate) repeat: Option<(u32, u64)>,
    pub(crate) interrupted: bool,
    /// It was asked to stop, and when that must be over.
    pub(crate) stopping: bool,
    pub(crate) leaves_until: Option<Instant>,
    pub(crate) left: bool,
    /// A permanent error was handed to the engine.
    pub(crate) forbidden: bool,
    pub(crate) lost_something: bool,
    /// What `leave` was given back, and how many of that handlers had: at least and at most.
    pub(crate) returned: Option<usize>,
    pub(crate) unfinished: (usize, usize),
    /// What was decided and not at the broker when it left.
    pub(crate) undurable: usize,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
}

impl Broker {
    pub(crate) fn new(setup: Setup, faults: Faults, trace: bool) -> Arc<Self> {
        let units = (0..setup.units).map(|_| Unit::default()).collect();
        let state = State {
            setup,
            now: Instant::now(),
            units,
            delayed: Vec::new(),
            members: Vec::new(),
            processes: Vec::new(),
            messages: Vec::new(),
            handouts: Vec::new(),
            faults,
            rotation: 0,
            violations: Vec::new(),
            trace,
            began: Instant::now(),
            payloads: Arc::default(),
        };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// The broker as it is now.
    pub(crate) fn open(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.let_time_pass();
        state
    }

    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }
}

impl State {
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>9.3}  {}", self.now.duration_since(self.began).as_secs_f64(), what());
        }
    }

    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("VIOLATED: {what}"));
        self.violations.push(what);
    }

    pub(crate) fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violated(what());
        }
    }

    /// Stores a published message.
    pub(crate) fn store(&mut self, message: usize) -> (u32, u64) {
        let unit = u32::try_from(message % self.units.len()).unwrap_or(0);
        let log = &mut self.units[unit as usize].log;
        let offset = log.len() as u64;
        log.push(Entry { message, origin: offset, attempts: 0, place: Place::Ready { suspect: false } });
        self.messages[message].stored.push((unit, offset));
        (unit, offset)
    }

    fn let_time_pass(&mut self) {
        self.now = Instant::now();
        while let Some(at) = self.delayed.iter().position(|delayed| delayed.due <= self.now) {
            let Delayed { unit, entry, .. } = self.delayed.remove(at);
            self.units[unit as usize].log.push(entry);
        }
        if self.setup.flavour == Flavour::Assigned {
            self.let_sessions_pass();
        }
    }

    /// When time alone will change something.
    pub(crate) fn next_change(&self) -> Option<Instant> {
        let lease = self.setup.lease;
        let due = self.delayed.iter().map(|delayed| delayed.due);
        let sessions =
            self.members.iter().filter(|member| member.alive).filter_map(|member| Some(member.heard? + lease));
        let held = self.units.iter().flat_map(|unit| &unit.log).filter_map(|entry| match entry.place {
            Place::Held { until, .. } => Some(until),
            Place::Ready { .. } | Place::Done { .. } => None,
        });
        // An engine that lets go does not say so but to whoever asks.
        let asking = self.units.iter().filter(|unit| unit.revoking.is_some());
        let asking = asking.map(|_| self.now + Duration::from_millis(20));
        due.chain(sessions).chain(held).filter(|at| *at > self.now).chain(asking).min()
    }

    /// What comes next for a member.
    pub(crate) fn look(&mut self, id: usize, credit: Credit) -> Option<Fetched> {
        match self.setup.flavour {
            Flavour::Shared => self.look_shared(id, credit),
            Flavour::Assigned => self.look_assigned(id, credit),
        }
    }

    pub(crate) fn link(&self, id: usize) -> Link {
        self.processes[self.members[id].process]
    }

    pub(crate) fn draw(
        &mut self,
        operation: Operation,
        who: impl FnOnce(&Self) -> String,
    ) -> Option<crate::faults::Fault> {
        let fault = self.faults.draw(operation);
        if let Some(fault) = fault {
            self.note(|| format!("{} {operation:?}: {fault:?}", who(self)));
        }
        fault
    }

    /// Whether nothing is left to do for anybody.
    pub(crate) fn is_drained(&self) -> bool {
        self.delayed.is_empty()
            && self.units.iter().all(|unit| match self.setup.flavour {
                Flavour::Shared => unit.log.iter().all(|entry| matches!(entry.place, Place::Done { .. })),
                Flavour::Assigned => unit.committed == unit.log.len() as u64,
            })
    }
}

pub(crate) fn at_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

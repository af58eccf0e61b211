//! How far a group is, who its members are, and which of them is stuck.

mod judge;

use std::time::{Duration, Instant};

use crate::{Broker, GroupName, MemberName, StreamName, UnitId, Warning};

/// A look at one group. A figure that the broker cannot give is `None`, never 0.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// The stream.
    pub stream: StreamName,
    /// The group.
    pub group: GroupName,
    /// The broker.
    pub broker: Broker,
    /// When this look was taken.
    pub looked_at: Instant,
    /// Messages that were ever published to the stream, by the broker's count.
    pub published: Option<u64>,
    /// Everything that the group has not settled: unread, in flight and delayed.
    pub lag: Option<u64>,
    /// Delivered and not settled.
    pub in_flight: Option<u64>,
    /// How long the oldest message in flight has been waiting. On Redis, since it was published.
    pub oldest_pending: Option<Duration>,
    /// Waiting for a later redelivery.
    pub delayed: Option<u64>,
    /// In the group's dead letters.
    pub dead_letters: Option<u64>,
    /// The members that the broker knows.
    pub members: Vec<MemberStatus>,
    /// The units.
    pub units: Vec<UnitStatus>,
    /// What keeps this look from being complete, or the group from working.
    pub warnings: Vec<Warning>,
}

impl GroupStatus {
    /// A look, taken now, that has seen nothing yet.
    #[must_use]
    pub fn new(stream: StreamName, group: GroupName, broker: Broker) -> Self {
        Self {
            stream,
            group,
            broker,
            looked_at: Instant::now(),
            published: None,
            lag: None,
            in_flight: None,
            oldest_pending: None,
            delayed: None,
            dead_letters: None,
            members: Vec::new(),
            units: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// One member of a group.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// Its name.
    pub name: MemberName,
    /// What it is doing.
    pub state: MemberState,
    /// The units that are its own; where units are shared, all of them.
    pub units: Vec<UnitId>,
    /// Delivered to it and not settled.
    pub in_flight: Option<u64>,
    /// How many messages the broker hands to it without a settlement. `None` where there is no such limit, or nobody
    /// tells.
    pub prefetch: Option<u32>,
    /// How many deliveries it has acknowledged or given up since it joined, where members tell: progress that no figure of
    /// the broker shows, and that of one that left is not seen. `None` where the broker's figures do, or nobody tells.
    pub settled: Option<u64>,
    /// How long since it was last heard of.
    pub idle: Option<Duration>,
    /// How long the delivery that it has been working on longest has been handed out, as the member reported.
    pub oldest_delivery: Option<Duration>,
    /// How long it may stay silent before others take over what it holds.
    pub lease: Option<Duration>,
}

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberState {
    /// Heard of within its lease.
    Active,
    /// Alive, and holds a delivery for longer than its lease.
    Stuck,
    /// Not heard of for longer than its lease; others take over what it holds.
    Dead,
}

impl MemberState {
    /// The state in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Stuck => "stuck",
            Self::Dead => "dead",
        }
    }
}

/// One unit of a stream as a group sees it.
#[derive(Clone, Debug)]
pub struct UnitStatus {
    /// The unit.
    pub unit: UnitId,
    /// Up to where the group has settled or read, as the broker writes it.
    pub committed: Option<String>,
    /// The end of the unit, as the broker writes it.
    pub end: Option<String>,
    /// Not yet settled in this unit.
    pub lag: Option<u64>,
    /// The member that has it, where units are assigned.
    pub owner: Option<MemberName>,
}

/// A group's health, judged on progress between two looks, without thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupState {
    /// No member and nothing to do.
    Empty,
    /// Keeps up or catches up.
    Ok,
    /// Moves, but the lag grew.
    Lagging,
    /// Has work, and nobody settled any of it.
    Stalled,
    /// A living member holds a delivery for longer than its lease.
    Stuck,
}

impl GroupState {
    /// The state in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Ok => "ok",
            Self::Lagging => "lagging",
            Self::Stalled => "stalled",
            Self::Stuck => "stuck",
        }
    }
}

/// A state and what speaks for it, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The state.
    pub state: GroupState,
    /// The figures that led to it.
    pub evidence: String,
}

/// What happened between two looks, a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Messages published to the stream.
    pub published: Option<f64>,
    /// Messages that the group settled, or that were gone from the broker before it could.
    pub settled: Option<f64>,
}

/// A stream as the broker knows it.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// The stream.
    pub stream: StreamName,
    /// The broker.
    pub broker: Broker,
    /// How many messages it holds, if the broker can say.
    pub depth: Option<u64>,
    /// Its units.
    pub units: Vec<UnitId>,
    /// Its groups, if the broker can say.
    pub groups: Option<Vec<GroupName>>,
}

#[cfg(test)]
mod tests;

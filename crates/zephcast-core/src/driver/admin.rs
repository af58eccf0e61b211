//! Streams, groups and dead letters, at the seam.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::{GroupName, Message, Position, Result, Start, StreamName, StreamStatus};

/// What is done rarely and by people: streams, groups, dead letters, a check of the broker.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Creates a stream. One that exists alike is fine; one that exists otherwise is
    /// [`Conflict`](crate::ErrorKind::Conflict), naming the difference.
    async fn create_stream(&self, spec: &StreamSpec) -> Result<()>;

    /// Deletes a stream with its groups and all helper queues.
    async fn delete_stream(&self, stream: &StreamName) -> Result<()>;

    /// Every stream, by name.
    async fn streams(&self) -> Result<Vec<StreamStatus>>;

    /// One stream.
    async fn stream(&self, stream: &StreamName) -> Result<StreamStatus>;

    /// Creates a group at its start, so that it gets everything from then on. One that exists stays as it is.
    async fn create_group(&self, stream: &StreamName, group: &GroupName, start: Start) -> Result<()>;

    /// The group's dead letters in order, at most `limit`, after `after`.
    async fn dead_letters(
        &self,
        stream: &StreamName,
        group: &GroupName,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>>;

    /// Sends a dead letter back to that group only, with its attempts counted afresh, and removes it, so that it is
    /// never lost and, but for a crash between the two, never doubled. `Gone` when it is no longer there.
    async fn redrive(&self, stream: &StreamName, group: &GroupName, position: Position) -> Result<Redrive>;

    /// Removes every dead letter of the group and returns how many there were.
    async fn purge_dead_letters(&self, stream: &StreamName, group: &GroupName) -> Result<u64>;

    /// Deletes from the head of the stream what no group needs any more, and returns how many messages that were.
    /// A broker that retains by its own policy answers [`Unsupported`](crate::ErrorKind::Unsupported).
    async fn trim(&self, stream: &StreamName) -> Result<u64>;

    /// Looks at the broker: version, rights, risky settings.
    async fn check(&self) -> Result<Check>;
}

/// A stream to be created.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamSpec {
    /// Its name.
    pub stream: StreamName,
    /// How many units; `None` for the broker's default.
    pub partitions: Option<u32>,
    /// Groups to create with it.
    pub groups: Vec<GroupName>,
    /// Settings of the broker's own.
    pub settings: BTreeMap<String, String>,
}

impl StreamSpec {
    /// A stream with the broker's defaults and no group.
    #[must_use]
    pub fn new(stream: StreamName) -> Self {
        Self { stream, partitions: None, groups: Vec::new(), settings: BTreeMap::new() }
    }
}

/// A message that was given up, and why.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Where it lies among the dead letters.
    pub position: Position,
    /// The message as it was published.
    pub message: Message,
    /// Why it was given up.
    pub reason: String,
    /// How many attempts it had.
    pub attempts: u32,
    /// Milliseconds since the Unix epoch of the first failed attempt.
    pub first_failed_ms: Option<u64>,
    /// Milliseconds since the Unix epoch of the last failed attempt.
    pub last_failed_ms: Option<u64>,
    /// Where it came from, as `STREAM@POSITION`.
    pub origin: String,
}

/// What became of a dead letter that was to be sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redrive {
    /// It is with its group again.
    Redriven,
    /// It is not among the dead letters any more.
    Gone,
}

/// What a look at the broker found.
#[derive(Clone, Debug)]
pub struct Check {
    /// The broker's own version text.
    pub version: String,
    /// What is risky or missing, and what to do about it.
    pub warnings: Vec<Warning>,
}

/// Something risky or missing.
#[derive(Clone, Debug)]
pub struct Warning {
    /// A word for programs, in snake case.
    pub kind: &'static str,
    /// What was found.
    pub message: String,
    /// What to do.
    pub advice: String,
}

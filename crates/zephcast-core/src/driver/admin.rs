//! Streams, groups and dead letters, at the seam.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::{
    Error, ErrorKind, GroupName, Message, Position, Result, Start, StreamName, StreamStatus, Token, UnitId, Warning,
};

/// What is done rarely and by people: streams, groups, dead letters, a check of the broker.
///
/// What only looks can be dropped at any time. What changes something may, dropped or failed, have been done, in part or
/// not at all; each method says what that leaves. Each can be called again, and then completes what is left.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Creates a stream. One that exists alike is fine.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict), naming the difference, when it exists otherwise;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a name or a setting that cannot be used;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for more than one unit where
    /// [`Capabilities::partitions`](crate::Capabilities::partitions) says so; and what
    /// [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Dropped, the stream may exist, with some of its groups or none. Calling again creates the rest.
    async fn create_stream(&self, spec: &StreamSpec) -> Result<()>;

    /// Deletes a stream with its groups and all helper queues.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming the stream, when it does not exist;
    /// [`Conflict`](crate::ErrorKind::Conflict) when it has groups and the broker cannot say which: nothing is changed;
    /// and what [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, retries, dead letters and groups may be gone while the stream is still there. Where it
    /// is more than one step the stream is the last one, so that calling again deletes the rest.
    async fn delete_stream(&self, stream: &StreamName) -> Result<()>;

    /// Every stream, by name. One that the user may not look at is left out.
    ///
    /// # Errors
    /// What [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks.
    async fn streams(&self) -> Result<Vec<StreamStatus>>;

    /// One stream.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming the stream, when it does not exist; and what
    /// [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks.
    async fn stream(&self, stream: &StreamName) -> Result<StreamStatus>;

    /// Creates a group at its start, so that it gets everything from then on. One that exists stays as it is.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming the stream, when it does not exist;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a start that it cannot have; and what
    /// [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Dropped, the group may exist, at its start. Calling again changes nothing of it.
    async fn create_group(&self, stream: &StreamName, group: &GroupName, start: Start) -> Result<()>;

    /// Moves a group that has no living members: its next members read from there on, as those of a new group would. What
    /// it had settled after that place comes again, what it had not settled before it is skipped.
    ///
    /// Everything else that is known of the stream's messages is forgotten: which were in flight, which were settled out
    /// of order, attempts, suspects. Copies that the group has of its own stay: messages that wait for a later attempt
    /// or were redriven are still delivered, beside the originals if those come again, and dead letters are still listed.
    ///
    /// A member lives until it left or until its lease ended, as
    /// [`group_status`](super::Driver::group_status) says it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming it, when the stream or the group does not exist;
    /// [`Conflict`](crate::ErrorKind::Conflict), naming them, while members live: nothing is changed;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a start that the stream cannot have;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where [`Capabilities::seek`](crate::Capabilities::seek) says so;
    /// and what [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Dropped, the group is where it was or where it was to go. Calling again moves it.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// use zephcast_core::{ErrorKind, Start};
    ///
    /// client.publisher("orders").await?.publish("two apples").await?;
    /// let mut consumer = client.consumer("orders").group("billing").start().await?;
    /// if let Some(delivery) = consumer.next().await {
    ///     delivery?.ack()?;
    /// }
    /// let (stream, group) = ("orders".parse()?, "billing".parse()?);
    /// let refused = client.admin().seek_group(&stream, &group, Start::Earliest).await;
    /// assert!(refused.is_err_and(|error| error.kind() == ErrorKind::Conflict));
    ///
    /// consumer.close(Duration::from_secs(10)).await?;
    /// client.admin().seek_group(&stream, &group, Start::Earliest).await?;
    /// assert_eq!(client.group_status("orders", "billing").await?.lag, Some(1));
    /// # Ok(())
    /// # }
    /// ```
    async fn seek_group(&self, stream: &StreamName, group: &GroupName, to: Start) -> Result<()>;

    /// Deletes a group that has no living members, with everything that was for it alone: its place in the stream, what
    /// waits for a later attempt, dead letters, helper queues. The stream stays, and a later group of this name begins
    /// anew.
    ///
    /// A member that was silent for longer than its lease is not living. If it comes back, it ends with `NotFound` or
    /// begins the group anew, as the broker has it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming it, when the stream or the group does not exist;
    /// [`Conflict`](crate::ErrorKind::Conflict), naming them, while members live: nothing is changed; and what
    /// [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the group may be gone while some of its retries and dead letters are still there. Calling
    /// again deletes the rest.
    async fn delete_group(&self, stream: &StreamName, group: &GroupName) -> Result<()>;

    /// Looks at messages where they lie: at most `limit` from `from` on, each unit in its order, without a group. Nothing
    /// changes at the broker: no member is seen, no position moves, nothing counts as delivered. It does not wait: at the
    /// end of the stream nothing is shown, and [`Browsed::next`] shows what is published later.
    ///
    /// Less than `limit` is not the end: a driver bounds the bytes of one look too. What the broker dropped since is
    /// passed over.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when the stream does not exist;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a start or a unit that the stream cannot have;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where [`Capabilities::browse`](crate::Capabilities::browse) says
    /// so; and what [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Cancel safe: the cursor is the caller's.
    async fn browse(&self, stream: &StreamName, from: &Cursor, limit: usize) -> Result<Browsed>;

    /// The group's dead letters in order, at most `limit`, after `after`.
    ///
    /// Less than `limit` is not the end: a driver bounds the bytes of one look too. None is. Whoever wants all of them asks
    /// for [`Capabilities::dead_letters_at_once`](crate::Capabilities::dead_letters_at_once) at a time.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming it, when the stream or the group does not exist; and what
    /// [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks, and the place is the caller's.
    async fn dead_letters(
        &self,
        stream: &StreamName,
        group: &GroupName,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>>;

    /// Sends a dead letter back to that group only, with its attempts counted afresh, and removes it, so that it is
    /// never lost and, but for a crash between the two, never doubled. `Gone` when it is no longer there.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming it, when the stream or the group does not exist; and what
    /// [every call](super::Driver#errors) can fail with: after a retryable one it may be with its group again.
    ///
    /// # Cancel safety
    /// Dropped, the dead letter is where it was or with its group again; where a broker needs two steps for that, it can
    /// be both. Calling again redrives what is there or answers `Gone`.
    async fn redrive(&self, stream: &StreamName, group: &GroupName, position: Position) -> Result<Redrive>;

    /// Does what [`redrive`](Self::redrive) does to the first of these, as many as the broker does well at once and one at
    /// least: an answer for each of them, in order. Of those without an answer nothing was touched; call again for them.
    /// One that fails hinders no other.
    ///
    /// By default it is one at a time.
    ///
    /// # Errors
    /// Each answer's are those of [`redrive`](Self::redrive).
    ///
    /// # Cancel safety
    /// As [`redrive`](Self::redrive), for each of them.
    async fn redrive_some(
        &self,
        stream: &StreamName,
        group: &GroupName,
        positions: &[Position],
    ) -> Vec<Result<Redrive>> {
        match positions.first() {
            Some(first) => vec![self.redrive(stream, group, *first).await],
            None => Vec::new(),
        }
    }

    /// Removes every dead letter of the group and returns how many there were.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming it, when the stream or the group does not exist; and what
    /// [every call](super::Driver#errors) can fail with: after a retryable one some or all may be gone.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, they may be gone, all or some of them, and nobody says how many. Calling again removes
    /// the rest.
    async fn purge_dead_letters(&self, stream: &StreamName, group: &GroupName) -> Result<u64>;

    /// Deletes from the head of the stream what no group needs any more, and returns how many messages that were.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming the stream, when it does not exist;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) from a broker that retains by its own policy; and what
    /// [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Dropped, a part may have been trimmed: never more than what no group needs. Calling again trims the rest.
    async fn trim(&self, stream: &StreamName) -> Result<u64>;

    /// Looks at the broker: version, rights, risky settings. A right that is missing is a warning, not an error.
    ///
    /// # Errors
    /// What [every call](super::Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks.
    async fn check(&self) -> Result<Check>;
}

/// The refusal to move or to delete a group, since these members of it live.
#[must_use]
pub fn has_members(operation: &'static str, group: &GroupName, members: &[String]) -> Error {
    const NAMED: usize = 5;
    let mut names = members.iter().take(NAMED).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    if members.len() > NAMED {
        names.push_str(&format!(" and {} more", members.len() - NAMED));
    }
    let text = format!(
        "the group {group:?} has living members: {names}; stop them first (one that died lives until its lease ends)"
    );
    Error::new(ErrorKind::Conflict, operation, text)
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

/// Where a look at a stream begins or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Where a new group of this start would begin.
    Start(Start),
    /// At this place of each unit, or after it where nothing lies. A unit that is not named is a new one and is shown
    /// from its beginning.
    Units(BTreeMap<UnitId, Token>),
}

/// At the oldest message that is still there.
impl Default for Cursor {
    fn default() -> Self {
        Self::Start(Start::Earliest)
    }
}

/// What a look at a stream showed.
#[derive(Clone, Debug)]
pub struct Browsed {
    /// The messages, those of each unit in order.
    pub messages: Vec<Stored>,
    /// Where the next look goes on.
    pub next: Cursor,
}

/// A message where it lies.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place in the stream.
    pub position: Position,
    /// The message as it was published.
    pub message: Message,
    /// Milliseconds since the Unix epoch of its publishing, if the broker says so.
    pub published_ms: Option<u64>,
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

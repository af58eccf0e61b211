//! The seam: what a broker's driver implements. Applications do not need it.
//!
//! A driver is thin and moves batches; everything that is equal on every broker is in the engine. What the engine
//! expects of every driver stands at each method; `zephcast-conformance` proves it.

mod admin;
mod intake;
mod settler;
mod sink;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use crate::deadline::{LONGEST, after};

pub use self::admin::{Admin, Browsed, Check, Cursor, DeadLetter, Redrive, Stored, StreamSpec, has_members};
pub use self::intake::{Batch, Credit, Fetched, Incoming, Intake, Release, Released};
pub use self::settler::{
    Disposition, Failure, Held, Renewal, Returned, Settlement, Settler, Undurable, UnitSettlements,
};
pub use self::sink::Sink;
use crate::{Capabilities, GroupName, GroupStatus, MemberName, Result, Start, StreamName};

/// One connected broker.
///
/// Whoever makes a driver connects first and fails within its connect timeout; from then on every method may be called
/// while the broker is away, and fails with a retryable error until it is back. A driver never gives up on a broker
/// and never sleeps between attempts on its own: the engine decides when to try again.
///
/// # Errors
/// Whatever is asked of a broker, here and at [`Sink`], [`Intake`], [`Settler`] and [`Admin`], can fail with
///
/// - [`Unavailable`](crate::ErrorKind::Unavailable), [`Timeout`](crate::ErrorKind::Timeout) or
///   [`Blocked`](crate::ErrorKind::Blocked) while the broker is away, slow or takes no writes: retryable;
/// - [`Auth`](crate::ErrorKind::Auth) or [`PermissionDenied`](crate::ErrorKind::PermissionDenied) when it refuses the
///   user, [`WrongType`](crate::ErrorKind::WrongType) when the name is that of something else;
/// - [`Broker`](crate::ErrorKind::Broker) for an answer that is not understood, or a reason of the broker's own;
/// - [`Closed`](crate::ErrorKind::Closed) after [`close`](Self::close).
///
/// Each method adds its own kinds to these.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// What this broker can do.
    fn capabilities(&self) -> &Capabilities;

    /// Opens the way to publish to a stream.
    ///
    /// With `create` a missing stream is created with the broker's defaults, at the latest by its first message; without, a
    /// missing stream is [`NotFound`](crate::ErrorKind::NotFound), now or when it is published to.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a name against [`Capabilities::names`], `NotFound` as above,
    /// and what [every call](Self#errors) can fail with.
    ///
    /// # Cancel safety
    /// Dropped, the stream may have been created; nothing else is left.
    async fn open_sink(&self, stream: &StreamName, create: bool) -> Result<Arc<dyn Sink>>;

    /// Joins a group. When this returns, the group and its start exist at the broker: whatever is published from now on
    /// reaches the group.
    ///
    /// With [`Capabilities::exclusive_names`] an earlier member of the same name is over: what it held comes again as from an unclean end, its settlements are
    /// answered as lost, its next fetch fails with [`Conflict`](crate::ErrorKind::Conflict).
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a name against [`Capabilities::names`] or a start that the
    /// stream cannot have; [`NotFound`](crate::ErrorKind::NotFound) for a missing stream that is not to be created; and
    /// what [every call](Self#errors) can fail with.
    ///
    /// # Cancel safety
    /// Dropped, the stream and the group may have been created, and the member may be known at the broker until it is
    /// forgotten as a dead one is. An earlier member of the name may be over.
    async fn join(&self, subscription: Subscription) -> Result<Membership>;

    /// A look at a group.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), naming it, when the stream or the group does not exist; and what
    /// [every call](Self#errors) can fail with.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks.
    async fn group_status(&self, stream: &StreamName, group: &GroupName) -> Result<GroupStatus>;

    /// Streams, groups and dead letters.
    fn admin(&self) -> &dyn Admin;

    /// Closes every connection within the deadline. Members have left before. Idempotent.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout) when a connection did not close in good order within the deadline, or
    /// what the broker says; it is given up all the same.
    ///
    /// # Cancel safety
    /// Dropped, some connections may be closed and others not; calling again closes the rest, and so does dropping the
    /// driver.
    async fn close(&self, deadline: Duration) -> Result<()>;
}

/// Who joins what, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subscription {
    /// The stream.
    pub stream: StreamName,
    /// The group.
    pub group: GroupName,
    /// The member's name, unique in the group.
    pub member: MemberName,
    /// Where the group starts if it does not exist.
    pub start: Start,
    /// How long the member may stay silent before others take over what it holds.
    pub lease: Duration,
    /// Whether a missing stream is created.
    pub create: bool,
    /// The most messages that the engine will hold at a time.
    pub prefetch: usize,
}

impl Subscription {
    /// A subscription with the documented defaults.
    #[must_use]
    pub fn new(stream: StreamName, group: GroupName) -> Self {
        Self {
            stream,
            group,
            member: MemberName::unique(),
            start: Start::default(),
            lease: Duration::from_secs(30),
            create: true,
            prefetch: 1_000,
        }
    }
}

/// One member of a group, in two halves, so that settling works while a fetch waits.
pub struct Membership {
    /// Where messages come from.
    pub intake: Box<dyn Intake>,
    /// Where settlements go.
    pub settler: Arc<dyn Settler>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Membership")
    }
}

/// The seam is used as trait objects across tasks.
const _: fn() = || {
    fn sendable<T: Send + Sync + ?Sized>() {}
    sendable::<dyn Driver>();
    sendable::<dyn Sink>();
    sendable::<dyn Settler>();
    sendable::<dyn Admin>();
    fn movable<T: Send + ?Sized>() {}
    movable::<dyn Intake>();
};

//! How brokers differ, as data.

use crate::{Broker, Error, ErrorKind, NameRules, PositionStyle, Result, Start};

/// What a broker can do. Code that must differ by broker asks here, never for a broker's name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// Which broker this is.
    pub broker: Broker,
    /// The broker's own rule for names.
    pub names: NameRules,
    /// How positions are written.
    pub positions: PositionStyle,
    /// What orders the messages of one key.
    pub order: Order,
    /// Whether units are given to one member each and taken back (assigned, revoked, lost), or shared by all members.
    pub assigns_units: bool,
    /// Whether what a member holds must be renewed, and is taken over by others when it is not.
    pub leases: bool,
    /// Whether a member's name is its identity at the broker: a later member of the same name takes its place. Otherwise
    /// two members of one name are two members.
    pub exclusive_names: bool,
    /// Whether a new group can start at the newest message, at a time, at a position.
    pub starts: Starts,
    /// Whether a message can have no payload (null), and a header no value.
    pub nulls: bool,
    /// Whether header names may occur twice and keep their order.
    pub duplicate_headers: bool,
    /// Whether header names may be any bytes; otherwise they are UTF-8.
    pub binary_header_names: bool,
    /// The largest payload in bytes, if the client knows it.
    pub max_payload: Option<usize>,
    /// Whether a publish to a stream without any group is stored for groups to come.
    pub keeps_without_group: bool,
    /// Whether a stream can be looked at without a group: [`Admin::browse`](crate::driver::Admin::browse).
    pub browse: bool,
    /// Whether a group that exists can be moved: [`Admin::seek_group`](crate::driver::Admin::seek_group), to where
    /// [`starts`](Self::starts) says that a new one can start.
    pub seek: bool,
    /// Whether a stream can have more than one unit.
    pub partitions: bool,
    /// Whether the broker drops a second copy of a publish that was sent again.
    pub idempotent_publish: bool,
    /// Whether the broker itself counts what a member holds, and sends no more beyond the prefetch until it has read acks.
    /// Then a window is written in quarters, so that it does not run dry meanwhile.
    pub counts_prefetch: bool,
    /// How many dead letters to ask for at a time when all of them are wanted, one at least:
    /// [`Admin::dead_letters`](crate::driver::Admin::dead_letters). A broker that has to look through the whole queue for
    /// each answer gives as many as fit into memory.
    pub dead_letters_at_once: usize,
    /// Whether messages survive a restart of the process that publishes and of the broker.
    pub durable: bool,
}

impl Capabilities {
    /// A broker that can do the least; a driver states what its broker can do beyond that.
    #[must_use]
    pub fn least(broker: Broker) -> Self {
        Self {
            broker,
            names: NameRules::ANY,
            positions: PositionStyle::Tag,
            order: Order::None,
            assigns_units: false,
            leases: false,
            exclusive_names: false,
            starts: Starts::default(),
            nulls: false,
            duplicate_headers: false,
            binary_header_names: false,
            max_payload: None,
            keeps_without_group: false,
            browse: false,
            seek: false,
            partitions: false,
            idempotent_publish: false,
            counts_prefetch: false,
            dead_letters_at_once: 100,
            durable: false,
        }
    }
}

impl Starts {
    /// Checks where a group is to start.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a start that a group of this broker cannot have.
    pub fn check(self, start: Start) -> Result<()> {
        let (can, what) = match start {
            Start::Earliest => return Ok(()),
            Start::Latest => (self.latest, "after the newest message"),
            Start::Time(_) => (self.time, "at a time"),
            Start::Position(_) => (self.position, "at a position"),
        };
        if can {
            return Ok(());
        }
        let text =
            format!("a group on this broker cannot start {what}; it begins with what is there when it is created");
        Err(Error::new(ErrorKind::Unsupported, "start a group", text))
    }
}

/// What orders the messages of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Nothing.
    None,
    /// One member at a time has the unit, so order by key holds however many members the group has.
    Unit,
    /// The unit is shared: order by key holds while the group has one member.
    SingleMember,
}

/// Where a new group can start, beside the earliest message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    /// After the newest message.
    pub latest: bool,
    /// At a time.
    pub time: bool,
    /// At a position.
    pub position: bool,
}

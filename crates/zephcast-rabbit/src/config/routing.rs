//! How messages find their queues.

/// What kind of exchange a stream is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exchange {
    /// Groups get the messages whose key matches a pattern of theirs: words between dots, `*` for one, `#` for any.
    #[default]
    Topic,
    /// Each group gets every message.
    Fanout,
    /// Groups get the messages with exactly their key.
    Direct,
    /// Groups get the messages whose headers match the arguments of their binding.
    Headers,
    /// Each key goes to one of the bound queues, whose routing keys are their weights: of several groups each would get a part. Needs
    /// the server's plugin `rabbitmq_consistent_hash_exchange`.
    ConsistentHash,
    /// None: the stream is a queue, and what is published goes there. The message's key travels in a header.
    Default,
}

impl Exchange {
    /// As RabbitMQ and URLs write it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Fanout => "fanout",
            Self::Direct => "direct",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::Default => "default",
        }
    }

    pub(crate) const ALL: [Self; 6] =
        [Self::Topic, Self::Fanout, Self::Direct, Self::Headers, Self::ConsistentHash, Self::Default];
}

/// What kind of queue a group's is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueType {
    /// Replicated over the nodes of the cluster, and counts deliveries.
    #[default]
    Quorum,
    /// On one node. How often a message was delivered is not known of it.
    Classic,
    /// A log that keeps what was read, for programs that read it by its protocol or from an offset. It can be created and
    /// published to; no group can have it, since it gives everybody everything and an ack removes nothing.
    Stream,
}

impl QueueType {
    /// As RabbitMQ and URLs write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
            Self::Stream => "stream",
        }
    }
}

/// Who takes a message that a group gives up to its dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetters {
    /// The member: into the queue `STREAM.GROUP.dead`, with the reason, the attempts and where it was.
    #[default]
    Group,
    /// The broker: the message is rejected, and goes where the queue's `x-dead-letter-exchange` sends it, with the broker's
    /// own header `x-death`. For queues that others own and whose dead letters have their way already.
    Native,
}

impl DeadLetters {
    /// As URLs write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Native => "native",
        }
    }
}

/// What a client may do about exchanges, queues and bindings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topology {
    /// Creates what is missing. What exists is used as it is, and is a `Conflict` where settings ask for something else in
    /// particular.
    #[default]
    Declare,
    /// Creates no exchange and no group's queue; fails with `NotFound` where one is missing. The queues beside a group's,
    /// for retries, dead letters, suspects and hints, are created when they are needed first. Where the exchange is missing by
    /// which members are asked how they are, only the management API knows that.
    Check,
    /// As [`Check`](Self::Check), and does not ask either: what is missing is found out when it is used.
    Expect,
}

impl Topology {
    /// As URLs write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declare => "declare",
            Self::Check => "check",
            Self::Expect => "expect",
        }
    }
}

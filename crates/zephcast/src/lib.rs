#![doc = include_str!("../README.md")]

mod connect;

pub use zephcast_core::{
    Broker, Capabilities, Client, CloseReport, Consumer, ConsumerBuilder, Delivery, Endpoint, Error, ErrorKind, Event,
    Events, GroupBuilder, GroupName, GroupState, GroupStatus, HandlerError, Headers, Judgement, MemberName,
    MemberState, MemberStatus, Message, MessageId, NameRules, Order, PendingReceipt, Position, PositionStyle,
    PublishError, Publisher, PublisherBuilder, RESERVED_PREFIX, Rates, Receipt, Result, Retry, Start, Starts,
    StreamName, StreamStatus, Token, UnitId, UnitStatus, Verdict, Warning, driver,
};
#[cfg(feature = "kafka")]
pub use zephcast_kafka as kafka;
#[cfg(feature = "memory")]
pub use zephcast_memory as memory;
#[cfg(feature = "rabbit")]
pub use zephcast_rabbit as rabbit;
#[cfg(feature = "redis")]
pub use zephcast_redis as redis;

pub use self::connect::{connect, connect_with};

/// The programs of the repository's README are run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
#[derive(Debug)]
pub struct RepositoryReadme;

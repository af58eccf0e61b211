#![doc = include_str!("../README.md")]

mod admin;
mod browse;
mod check;
mod config;
mod connection;
mod dead_letters;
mod driver;
mod entry;
mod error;
mod gone;
mod intake;
mod keeper;
mod keys;
mod lease;
mod link;
mod member;
mod moving;
mod probe;
mod reader;
mod removal;
mod reply;
mod scripts;
mod settler;
mod sink;
mod status;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod url;

pub use self::config::{RedisConfig, Topology};
pub use self::driver::RedisDriver;
pub use zephcast_core::driver::{Admin, Browsed, Check, Cursor, DeadLetter, Redrive, Stored, StreamSpec};
pub use zephcast_core::{
    Broker, Capabilities, Client, CloseReport, Consumer, ConsumerBuilder, Delivery, Endpoint, Error, ErrorKind, Event,
    Events, GroupBuilder, GroupName, GroupState, GroupStatus, HandlerError, Headers, Judgement, MemberName,
    MemberState, MemberStatus, Message, MessageId, NameRules, Order, PendingReceipt, Position, PositionStyle,
    PublishError, Publisher, PublisherBuilder, RESERVED_PREFIX, Rates, Receipt, Result, Retry, Start, Starts,
    StreamName, StreamStatus, Tls, Token, UnitId, UnitStatus, Verdict, Warning,
};

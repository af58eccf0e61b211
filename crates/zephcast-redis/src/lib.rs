#![doc = include_str!("../README.md")]

mod admin;
mod check;
mod config;
mod connect;
mod connection;
mod dead_letters;
mod driver;
mod entry;
mod error;
mod intake;
mod keeper;
mod keys;
mod lease;
mod link;
mod member;
mod reader;
mod reply;
mod scripts;
mod settler;
mod sink;
mod status;
#[cfg(feature = "tls")]
mod tls;
mod token;

pub use self::config::{RedisConfig, Tls, Topology};
pub use self::driver::RedisDriver;
pub use zephcast_core::{
    Broker, Capabilities, Client, CloseReport, Consumer, ConsumerBuilder, Delivery, Endpoint, Error, ErrorKind, Event,
    Events, GroupBuilder, GroupName, GroupState, GroupStatus, HandlerError, Headers, Judgement, MemberName,
    MemberState, MemberStatus, Message, MessageId, PendingReceipt, Position, PublishError, Publisher, PublisherBuilder,
    Receipt, Result, Retry, Start, StreamName, StreamStatus, UnitId, UnitStatus, Verdict,
};

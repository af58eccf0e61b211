#![doc = include_str!("../README.md")]

mod admin;
mod assignment;
mod browse;
mod check;
mod chunk;
mod clock;
mod cluster;
mod config;
mod context;
mod dead_letters;
mod driver;
mod error;
mod intake;
mod keeper;
mod member;
mod moves;
mod moving;
#[expect(unsafe_code, reason = "calls of librdkafka for which its Rust client has no name")]
mod native;
mod nodes;
mod partition;
mod place;
mod poll_thread;
mod producer;
mod ranges;
mod read;
mod reading;
mod rebalance;
mod record;
mod removal;
mod settler;
#[cfg(test)]
mod simulation;
mod sink;
mod start;
mod status;
mod streams;
mod topics;
mod url;

pub use self::config::{GroupProtocol, KafkaConfig, OauthToken, OutOfRange, Sasl};
pub use self::driver::KafkaDriver;
pub use zephcast_core::driver::{Admin, Browsed, Check, Cursor, DeadLetter, Redrive, Stored, StreamSpec};
pub use zephcast_core::{
    Broker, Capabilities, Client, CloseReport, Consumer, ConsumerBuilder, Delivery, Endpoint, Error, ErrorKind, Event,
    Events, GroupBuilder, GroupName, GroupState, GroupStatus, HandlerError, Headers, Judgement, MemberName,
    MemberState, MemberStatus, Message, MessageId, NameRules, Order, PendingReceipt, Position, PositionStyle,
    PublishError, Publisher, PublisherBuilder, RESERVED_PREFIX, Rates, Receipt, Result, Retry, Start, Starts,
    StreamName, StreamStatus, Tls, Token, UnitId, UnitStatus, Verdict, Warning,
};

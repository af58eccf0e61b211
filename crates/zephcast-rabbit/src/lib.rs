#![doc = include_str!("../README.md")]

mod admin;
mod arrival;
mod blocking;
mod brokers;
mod check;
mod clock;
mod config;
mod connection;
mod dead_letters;
mod dial;
mod driver;
mod errand;
mod error;
mod guard;
mod held;
mod hints;
mod inbox;
mod intake;
#[cfg(test)]
mod lab;
mod lane;
mod leaving;
mod link;
mod management;
mod member;
mod mover;
mod names;
mod native;
mod pace;
mod properties;
mod quiet;
mod removal;
mod roll_call;
mod runtime;
mod session;
mod settler;
mod sink;
mod status;
mod suspect;
#[cfg(feature = "tls")]
mod tls;
mod topology;
mod url;
mod warnings;

pub use self::config::{Binding, BindingValue, Credentials, DeadLetters, Exchange, QueueType, RabbitConfig, Topology};
pub use self::driver::RabbitDriver;
pub use zephcast_core::driver::{Admin, Browsed, Check, Cursor, DeadLetter, Redrive, Stored, StreamSpec};
pub use zephcast_core::{
    Broker, Capabilities, Client, CloseReport, Consumer, ConsumerBuilder, Delivery, Endpoint, Error, ErrorKind, Event,
    Events, GroupBuilder, GroupName, GroupState, GroupStatus, HandlerError, Headers, Judgement, MemberName,
    MemberState, MemberStatus, Message, MessageId, NameRules, Order, PendingReceipt, Position, PositionStyle,
    PublishError, Publisher, PublisherBuilder, RESERVED_PREFIX, Rates, Receipt, Result, Retry, Start, Starts,
    StreamName, StreamStatus, Tls, Token, UnitId, UnitStatus, Verdict, Warning,
};

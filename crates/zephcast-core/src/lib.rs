#![doc = include_str!("../README.md")]

mod broker;
mod capabilities;
mod client;
mod consumer;
mod deadline;
mod delivery;
pub mod driver;
mod endpoint;
mod engine;
mod error;
mod event;
mod group;
mod headers;
mod message;
mod name;
mod position;
mod publisher;
mod report;
mod retry;
mod status;
mod tls;
mod warning;

pub use self::broker::Broker;
pub use self::capabilities::{Capabilities, Order, Starts};
pub use self::client::Client;
pub use self::consumer::{Consumer, ConsumerBuilder, Events};
pub use self::delivery::{Delivery, Verdict};
pub use self::endpoint::Endpoint;
pub use self::error::{Error, ErrorKind, PublishError, Result};
pub use self::event::Event;
pub use self::group::{GroupBuilder, HandlerError};
pub use self::headers::{Headers, RESERVED_PREFIX};
pub use self::message::{Message, MessageId, Receipt};
pub use self::name::{GroupName, MemberName, NameRules, StreamName};
pub use self::position::{Position, PositionStyle, Start, Token, UnitId};
pub use self::publisher::{PendingReceipt, Publisher, PublisherBuilder};
pub use self::report::CloseReport;
pub use self::retry::Retry;
pub use self::status::{
    GroupState, GroupStatus, Judgement, MemberState, MemberStatus, Rates, StreamStatus, UnitStatus,
};
pub use self::tls::Tls;
pub use self::warning::Warning;

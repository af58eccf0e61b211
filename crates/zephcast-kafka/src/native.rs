//! The calls of librdkafka for which its Rust client has no name, or only one in a client of its own.
//!
//! The only place with `unsafe`. Every question gets a queue of its own, and the answer wakes whoever waits for it; a
//! dropped one takes its queue along, and the client outlives it. What is given to librdkafka is copied by it before the
//! call returns, and what it answers is copied before the answer is destroyed, so that nothing here is kept by both.

mod answer;
mod batches;
mod client;
mod code;
mod commits;
mod configs;
mod coordinator;
mod group;
mod groups;
mod headers;
mod log;
mod membership;
mod message;
mod nodes;
mod offsets;
mod pending;
pub(crate) mod producer;
mod topics;

use std::sync::Arc;

pub(crate) use self::batches::{Batches, LONGEST_READ};
pub(crate) use self::client::Client;
pub(crate) use self::commits::Commits;
pub(crate) use self::configs::{Resource, describe_configs};
pub(crate) use self::group::{
    Committed, GroupDescription, GroupMember, commit, committed, delete_offsets, describe_groups,
};
pub(crate) use self::groups::{delete_groups, list_groups};
pub(crate) use self::headers::headers;
pub(crate) use self::log::log_start;
pub(crate) use self::membership::is_known;
pub(crate) use self::message::Message;
pub(crate) use self::nodes::{ClusterDescription, ask_for_brokers, describe_cluster};
pub(crate) use self::offsets::{OffsetOf, delete_records, list_offsets};
pub(crate) use self::topics::{NewTopic, TopicDescription, create_topic, delete_topics, describe_topics};

/// A client of the library. The thread that serves it keeps one of these and drops the last.
pub(crate) type Library = Arc<Client>;

/// A partition of a topic.
pub(crate) type Partition = (String, i32);

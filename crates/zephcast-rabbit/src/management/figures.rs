//! What the API says of queues and exchanges, nodes and users.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::lenient::{known, or_default};

/// The fields of [`QueueFigures`], so that an answer has no others.
pub(super) const QUEUE_COLUMNS: &str =
    "name,state,arguments,effective_policy_definition,messages_ready,messages_unacknowledged";

/// A queue. What the server does not know yet is `None`, never 0.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct QueueFigures {
    pub(crate) name: String,
    /// Such as `running`, `idle`, `down`, `minority`.
    #[serde(default, deserialize_with = "known")]
    pub(crate) state: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) arguments: Map<String, Value>,
    /// What policies say of it.
    #[serde(rename = "effective_policy_definition", default, deserialize_with = "or_default")]
    pub(crate) policy: Map<String, Value>,
    #[serde(rename = "messages_ready", default, deserialize_with = "known")]
    pub(crate) ready: Option<u64>,
    #[serde(rename = "messages_unacknowledged", default, deserialize_with = "known")]
    pub(crate) unacked: Option<u64>,
    /// All that it keeps; among totals alone.
    #[serde(rename = "messages", default, deserialize_with = "known")]
    pub(super) all: Option<u64>,
}

impl QueueFigures {
    /// What is said by an argument of the queue, or else by a policy.
    pub(crate) fn told(&self, what: &str) -> Option<&str> {
        self.arguments.get(&format!("x-{what}")).or_else(|| self.policy.get(what)).and_then(Value::as_str)
    }

    /// How many it has given up and keeps until they are where they go. As one moment saw them.
    pub(super) fn leaving(&self) -> u64 {
        let (ready, unacked) = (self.ready.unwrap_or(0), self.unacked.unwrap_or(0));
        self.all.unwrap_or(0).saturating_sub(ready.saturating_add(unacked))
    }

    /// Takes over how many are ready and unacked from figures that are fresher, which say 0 where they know nothing.
    pub(super) fn refresh(&mut self, fresher: &Self) {
        let is_known = |count: Option<u64>| count.is_some_and(|count| count > 0);
        // Statistics that are there were gathered from what the fresher ones are.
        let are_facts = self.ready.is_some() || is_known(fresher.ready) || is_known(fresher.unacked);
        if are_facts && fresher.ready.is_some() && fresher.unacked.is_some() {
            (self.ready, self.unacked) = (fresher.ready, fresher.unacked);
        }
    }
}

/// An exchange.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct ExchangeFigures {
    /// Empty for the default exchange.
    pub(crate) name: String,
    /// Such as `fanout` or `x-consistent-hash`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) durable: bool,
}

/// A binding of an exchange to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) queue: String,
    pub(crate) routing_key: String,
    pub(crate) arguments: Map<String, Value>,
}

/// What of an exchange says where messages go that no queue takes.
#[derive(Deserialize)]
pub(super) struct ExchangeRoutes {
    #[serde(default)]
    arguments: Map<String, Value>,
    #[serde(default)]
    policy: Option<String>,
}

impl ExchangeRoutes {
    /// What a policy says is not told.
    pub(super) fn may_have_alternate(&self) -> bool {
        self.arguments.contains_key("alternate-exchange")
            || self.policy.as_ref().is_some_and(|policy| !policy.is_empty())
    }
}

#[derive(Deserialize)]
pub(super) struct AnyBinding {
    destination: String,
    destination_type: String,
    routing_key: String,
    #[serde(default, deserialize_with = "or_default")]
    arguments: Map<String, Value>,
}

impl AnyBinding {
    /// The queue that it leads to, if it does to one.
    pub(super) fn queue(&self) -> Option<&str> {
        (self.destination_type == "queue").then_some(&self.destination)
    }

    /// If it leads to a queue.
    pub(super) fn of_queue(self) -> Option<Binding> {
        self.queue()?;
        Some(Binding { queue: self.destination, routing_key: self.routing_key, arguments: self.arguments })
    }
}

/// A node that takes no messages for now.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Alarm {
    pub(crate) node: String,
    #[serde(rename = "resource", default)]
    pub(crate) kind: AlarmKind,
}

/// Of what it has too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlarmKind {
    Memory,
    Disk,
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(super) struct AlarmCheck {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) alarms: Vec<Alarm>,
}

/// What a user may touch in a virtual host: regular expressions for names of exchanges and queues. An empty one allows
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Permissions {
    pub(crate) configure: String,
    pub(crate) write: String,
    pub(crate) read: String,
}

#[derive(Deserialize)]
pub(super) struct Overview {
    pub(super) rabbitmq_version: String,
}

/// A part of a list, counted from 1.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) page_count: usize,
}

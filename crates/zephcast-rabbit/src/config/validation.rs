//! Which settings go together, and what they ask for.

use std::time::Duration;

use zephcast_core::Result;

use super::{Binding, Credentials, Exchange, QueueType, RabbitConfig, Topology};
use crate::error::invalid;

/// The longest time to live, in milliseconds: the server counts them in 32 bits.
const LONGEST_TTL_MS: u128 = u32::MAX as u128;

impl RabbitConfig {
    /// Whether anything in particular is asked of a group's queue, so that one which exists has to be like that.
    pub(crate) fn asks_of_queue(&self) -> bool {
        self.single_active_consumer
            || self.max_length.is_some()
            || self.message_ttl.is_some()
            || self.max_priority.is_some()
    }

    /// As [`asks_of_queue`](Self::asks_of_queue), of an exchange.
    pub(crate) fn asks_of_exchange(&self) -> bool {
        !matches!(self.exchange, Exchange::Topic | Exchange::Default) || self.alternate_exchange.is_some()
    }

    /// Whether these settings can be used together.
    ///
    /// # Errors
    /// `InvalidInput`, saying what is wrong.
    pub(crate) fn validate(&self, operation: &'static str) -> Result<()> {
        let refuse = |why: &str| Err(invalid(operation, why));
        if self.hosts.is_empty() || self.hosts.iter().any(|(host, port)| host.is_empty() || *port == 0) {
            return refuse("each server has a host and a port, and there is at least one");
        }
        if self.connect_timeout.is_zero() || self.request_timeout.is_zero() {
            return refuse("a timeout is longer than zero");
        }
        if self.heartbeat < Duration::from_secs(1) || self.heartbeat > Duration::from_secs(u16::MAX.into()) {
            return refuse("a heartbeat is a number of seconds from 1 to 65535");
        }
        if self.consumer_timeout.is_some_and(|timeout| timeout < Duration::from_secs(1)) {
            return refuse("a consumer timeout is a second at least, or none");
        }
        if matches!(self.credentials, Credentials::Certificate) && self.tls.is_none() {
            return refuse("a certificate is shown in the handshake of TLS: connect with amqps://");
        }
        if cfg!(not(feature = "tls")) && self.tls.is_some() {
            return refuse("TLS needs the cargo feature `tls`");
        }
        if let Some(queue) = &self.queue {
            if queue.is_empty() || queue.starts_with("amq.") {
                return refuse("a queue has a name that is not empty and does not begin with `amq.`, the broker's own");
            }
            if queue.chars().any(char::is_control) {
                return refuse("the name of a queue contains a control character");
            }
        }
        if self.max_priority.is_some() && self.queue_type != QueueType::Classic {
            return refuse("only a classic queue knows priorities: add `queue-type=classic`");
        }
        if self.exclusive_consumer && self.topology == Topology::Declare && self.queue_type != QueueType::Classic {
            return refuse(
                "only a classic queue has an exclusive consumer: add `queue-type=classic`, or let the group have \
                           one active member by `single-active-consumer=true`",
            );
        }
        let limits = [self.max_length.is_some(), self.message_ttl.is_some(), self.single_active_consumer];
        if self.queue_type == QueueType::Stream && limits.contains(&true) {
            return refuse("what a stream queue keeps, and who reads it, is for a policy or its readers to say");
        }
        if self.message_ttl.is_some_and(|ttl| ttl.as_millis() > LONGEST_TTL_MS) {
            return refuse(&format!("a message's time to live is {LONGEST_TTL_MS} ms at most"));
        }
        self.validate_bindings(operation)
    }

    fn validate_bindings(&self, operation: &'static str) -> Result<()> {
        let refuse = |why: &str| Err(invalid(operation, why));
        if self.alternate_exchange.as_ref().is_some_and(String::is_empty) {
            return refuse("an alternate exchange has a name that is not empty");
        }
        if let Some(binding) = self.bindings.iter().find(|binding| binding.routing_key.len() > 255) {
            return refuse(&format!("a routing key has at most 255 bytes, not {}", binding.routing_key.len()));
        }
        let names = self.bindings.iter().flat_map(|binding| binding.arguments.keys());
        if let Some(name) = names.into_iter().find(|name| name.len() > 255) {
            return refuse(&format!("the name of a binding's argument has at most 255 bytes, not {}", name.len()));
        }
        let is_weight = |binding: &Binding| binding.routing_key.parse::<u32>().is_ok_and(|weight| weight > 0);
        match self.exchange {
            Exchange::Default if self.alternate_exchange.is_some() || !self.bindings.is_empty() => {
                refuse("without an exchange nothing is bound, and there is no alternate one: leave both away")
            }
            Exchange::Fanout if !self.bindings.is_empty() => refuse(
                "a fanout exchange gives every queue everything: leave the bindings away, or use another exchange",
            ),
            Exchange::Headers if self.bindings.iter().any(|binding| binding.arguments.is_empty()) => refuse(
                "a headers exchange looks at no routing key: bind by headers, with `binding-arguments`, or leave the bindings \
                 away to get everything",
            ),
            Exchange::ConsistentHash if !self.bindings.iter().all(is_weight) => {
                refuse("what a queue is bound to a consistent-hash exchange by is a weight, a number from 1 upwards")
            }
            _ => Ok(()),
        }
    }
}

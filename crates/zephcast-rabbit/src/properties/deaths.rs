//! What the broker writes about a message by itself: how often it was delivered, and which queues dead-lettered it.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, ShortString};

use super::text;

/// One table for each queue and reason, the latest first.
pub(super) const DEATHS: &str = "x-death";
const QUEUE: &str = "queue";
const FIRST: &str = "x-first-death-";
const LAST: &str = "x-last-death-";
const COUNTS: [&str; 2] = [DELIVERY_COUNT, "x-acquired-count"];
const DELIVERY_COUNT: &str = "x-delivery-count";

/// How often a quorum queue delivered the message before in vain; `None` on a first delivery, and in a classic queue.
///
/// It is what the queue's delivery limit counts. Until RabbitMQ 4.2 each delivery that came back adds to it; since 4.3 only
/// a failed one does (`basic.reject`, a connection that broke), and `x-acquired-count`, which is not looked at here, counts
/// also what was given back unread.
pub(crate) fn delivery_count(properties: &BasicProperties) -> Option<u64> {
    properties.headers().as_ref()?.inner().get(DELIVERY_COUNT).and_then(text::number)
}

/// What is to be shown of a header that the broker may have made.
pub(super) enum Shown {
    AsItIs,
    /// Without what our own queues did.
    Rest(AMQPValue),
    Nothing,
}

/// What is to be shown of the header `name`; `own_prefix` begins the names of our own queues.
pub(super) fn shown(
    name: &str,
    value: &AMQPValue,
    table: &BTreeMap<ShortString, AMQPValue>,
    own_prefix: &str,
) -> Shown {
    let is_ours = |queue: Option<&AMQPValue>| {
        queue.and_then(text::bytes).is_some_and(|queue| queue.starts_with(own_prefix.as_bytes()))
    };
    if name == DEATHS {
        return match value {
            AMQPValue::FieldArray(entries) => {
                rest(entries, |entry| is_ours(entry.as_field_table().and_then(|entry| entry.inner().get(QUEUE))))
            }
            _ => Shown::AsItIs,
        };
    }
    let family = [FIRST, LAST].into_iter().find(|family| name.starts_with(family));
    let is_hidden = family.is_some_and(|family| is_ours(table.get(format!("{family}{QUEUE}").as_str())));
    if is_hidden || COUNTS.contains(&name) { Shown::Nothing } else { Shown::AsItIs }
}

fn rest(entries: &FieldArray, is_ours: impl Fn(&AMQPValue) -> bool) -> Shown {
    let foreign = entries.as_slice().iter().filter(|entry| !is_ours(entry));
    match foreign.clone().count() {
        0 => Shown::Nothing,
        all if all == entries.as_slice().len() => Shown::AsItIs,
        _ => Shown::Rest(AMQPValue::FieldArray(foreign.cloned().collect::<Vec<_>>().into())),
    }
}

/// Whether the broker writes, reads or removes a header of this name, so that no publisher can have it as its own.
pub(super) fn is_brokers(name: &str) -> bool {
    let routes = matches!(name, "CC" | "BCC");
    routes || name == DEATHS || name.starts_with(FIRST) || name.starts_with(LAST) || COUNTS.contains(&name)
}

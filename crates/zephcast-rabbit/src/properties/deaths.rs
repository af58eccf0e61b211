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

/// That a queue gave a message up, as the broker wrote it down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Death {
    /// The broker's word for why, such as `expired`.
    pub(crate) reason: Option<String>,
    /// From where the message came to the queue; empty for the default exchange.
    pub(crate) exchange: Option<ShortString>,
    /// By which key it came there.
    pub(crate) routing_key: Option<ShortString>,
    /// Milliseconds since the Unix epoch, of whole seconds.
    pub(crate) time_ms: Option<u64>,
}

/// Takes out what the broker wrote of a queue that gave the message up, and gives the message the expiration again that the
/// broker took from it then. None when nothing is written of that queue.
pub(crate) fn take_death(properties: &mut BasicProperties, queue: &str) -> Option<Death> {
    let is_the_queue = |name: Option<&AMQPValue>| name.and_then(text::bytes) == Some(queue.as_bytes());
    let fields = |entry: &AMQPValue| entry.as_field_table().map(|entry| entry.inner().clone());
    let is_its = |entry: &AMQPValue| is_the_queue(entry.as_field_table().and_then(|entry| entry.inner().get(QUEUE)));
    let mut table = properties.headers().as_ref()?.inner().clone();
    let AMQPValue::FieldArray(entries) = table.get(DEATHS)? else { return None };
    let latest = entries.as_slice().iter().find(|entry| is_its(entry)).and_then(fields)?;
    match rest(entries, is_its) {
        Shown::Rest(rest) => drop(table.insert(DEATHS.into(), rest)),
        Shown::Nothing => drop(table.remove(DEATHS)),
        Shown::AsItIs => {}
    }
    for family in [FIRST, LAST] {
        if is_the_queue(table.get(format!("{family}{QUEUE}").as_str())) {
            table.retain(|name, _| !name.as_str().starts_with(family));
        }
    }
    let headers = std::mem::take(properties).with_headers(table.into());
    let expiration = latest.get("original-expiration").and_then(short);
    *properties = match expiration.filter(|_| headers.expiration().is_none()) {
        Some(expiration) => headers.with_expiration(expiration),
        None => headers,
    };
    let first_key = |keys: &AMQPValue| keys.as_array().and_then(|keys| keys.as_slice().first().and_then(short));
    Some(Death {
        reason: latest.get("reason").and_then(short).map(|reason| reason.as_str().to_owned()),
        exchange: latest.get("exchange").and_then(short),
        routing_key: latest.get("routing-keys").and_then(first_key),
        time_ms: latest.get("time").and_then(text::number).map(|seconds| seconds.saturating_mul(1_000)),
    })
}

/// As a name or a key; none for what can be neither.
fn short(value: &AMQPValue) -> Option<ShortString> {
    let words = std::str::from_utf8(text::bytes(value)?).ok()?;
    (words.len() <= usize::from(u8::MAX)).then(|| words.into())
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

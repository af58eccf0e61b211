//! What queues are declared with.

use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::RabbitConfig;
use crate::config::QueueType;
use crate::names::Names;

/// As often as a message may be delivered before the broker itself gives it up: what a message has to be given up for is
/// decided by its group, and 4.x would drop it after 20 deliveries otherwise.
const NO_DELIVERY_LIMIT: i32 = 1_000_000_000;

/// How long hints are kept, in milliseconds.
const HINTS_TTL_MS: i32 = 3_600_000;

/// How many messages with hints are kept.
const MOST_HINTS: i32 = 10_000;

/// The queue of a group.
pub(super) fn of_group(config: &RabbitConfig, names: &Names) -> FieldTable {
    let mut arguments = match config.queue_type {
        QueueType::Quorum => quorum(),
        QueueType::Classic => {
            let mut arguments = FieldTable::default();
            insert(&mut arguments, "x-queue-type", text("classic"));
            insert(&mut arguments, "x-overflow", text("reject-publish"));
            arguments
        }
        QueueType::Stream => return log(),
    };
    insert(&mut arguments, "x-dead-letter-exchange", text(""));
    insert(&mut arguments, "x-dead-letter-routing-key", text(&names.dead));
    if config.queue_type == QueueType::Quorum {
        insert(&mut arguments, "x-dead-letter-strategy", text("at-least-once"));
    }
    if config.single_active_consumer {
        insert(&mut arguments, "x-single-active-consumer", AMQPValue::Boolean(true));
    }
    let mut number = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            insert(&mut arguments, name, AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX)));
        }
    };
    number("x-max-length", config.max_length);
    number("x-message-ttl", config.message_ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)));
    number("x-max-priority", config.max_priority.map(u64::from));
    arguments
}

/// A replicated queue that drops nothing: it refuses what it cannot take, and delivers as often as it has to.
pub(super) fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    insert(&mut arguments, "x-queue-type", text("quorum"));
    insert(&mut arguments, "x-overflow", text("reject-publish"));
    insert(&mut arguments, "x-delivery-limit", AMQPValue::LongInt(NO_DELIVERY_LIMIT));
    arguments
}

/// A stream queue.
pub(super) fn log() -> FieldTable {
    let mut arguments = FieldTable::default();
    insert(&mut arguments, "x-queue-type", text("stream"));
    arguments
}

/// A queue whose messages go to another one once they have expired.
pub(super) fn waiting_for(queue: &str) -> FieldTable {
    let mut arguments = quorum();
    insert(&mut arguments, "x-dead-letter-exchange", text(""));
    insert(&mut arguments, "x-dead-letter-routing-key", text(queue));
    insert(&mut arguments, "x-dead-letter-strategy", text("at-least-once"));
    arguments
}

pub(super) fn insert(arguments: &mut FieldTable, name: &str, value: AMQPValue) {
    arguments.insert(ShortString::from(name), value);
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

/// Of a queue for hints, which may be lost and need not be replicated.
pub(super) fn hints() -> FieldTable {
    let mut arguments = FieldTable::default();
    insert(&mut arguments, "x-queue-type", text("classic"));
    insert(&mut arguments, "x-message-ttl", AMQPValue::LongInt(HINTS_TTL_MS));
    insert(&mut arguments, "x-max-length", AMQPValue::LongInt(MOST_HINTS));
    insert(&mut arguments, "x-expires", AMQPValue::LongInt(2 * HINTS_TTL_MS));
    arguments
}

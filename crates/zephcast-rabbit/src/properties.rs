//! Messages as those of AMQP 0-9-1: the payload is the body, the key the routing key, the id the property `message_id`, a
//! header a header. No envelope, so that plain clients read what is written here and what they write is read here.
//!
//! | of ours | on the wire |
//! |---|---|
//! | key | routing key; where that cannot carry it, or names a queue, the header `zephcast-key` (void: there is no key) |
//! | id | property `message_id`; where that cannot carry it, the header `zephcast-id` |
//! | header `amqp.NAME` | the standard property NAME ([`standard`]) |
//! | any other header | a header of type long string |
//! | [`Notes`] | headers that begin with `zephcast-` ([`notes`]) |
//!
//! Headers come in the order of their names: clients do not keep another one.
//!
//! What a foreign program wrote is shown as text where it is none ([`text`]), and kept as it came in [`Original`], so that
//! copies into other queues have it with its type. What the broker would act upon in such a copy travels under another name
//! ([`kept`]), and what it wrote of our own queues is not shown ([`deaths`]).
//!
//! A foreign header whose own name begins with `amqp.` is shown under that name, unless the message has the property of
//! that name too: then the property is shown. Copies carry both.

mod deaths;
mod kept;
mod notes;
mod read;
mod size;
mod standard;
mod text;
mod write;

use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};
use zephcast_core::Message;

use crate::names::{Delay, Names};

pub(crate) use self::deaths::{Death, delivery_count, take_death};
pub(crate) use self::notes::{Notes, ORIGIN};
pub(crate) use self::read::decode;
pub(crate) use self::write::{encode, encode_copy, encode_for_queue};

/// The longest routing key, header name and text of a property, in bytes: AMQP counts them in one byte.
const MAX_SHORT: usize = u8::MAX as usize;
/// The key, where the routing key does not say it.
const KEY: &str = "zephcast-key";
/// The id, where `message_id` cannot carry it.
pub(crate) const ID: &str = "zephcast-id";
/// Says that the timestamp is the publisher's own, though it is the second in which the message was published.
const OWN_TIMESTAMP: &str = "zephcast-own-timestamp";

/// The longest expiration: a length and a number of 32 bits.
pub(crate) const EXPIRATION_BYTES: usize = 1 + 10;

/// A message on its way to an exchange.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outgoing {
    /// The default one until it is said.
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    /// The size of the frame of the properties, but for an expiration that came later.
    pub(crate) header_bytes: usize,
    pub(crate) payload: Bytes,
}

impl Outgoing {
    /// Straight into a queue.
    pub(crate) fn to_queue(queue: &str, properties: BasicProperties, payload: impl Into<Bytes>) -> Self {
        let header_bytes = size::header_frame(&properties);
        let (exchange, routing_key) = (ShortString::default(), queue.into());
        Self { exchange, routing_key, properties, header_bytes, payload: payload.into() }
    }

    /// Its size on its way, but for a few bytes of each frame.
    pub(crate) fn bytes(&self) -> usize {
        self.header_bytes + self.payload.len()
    }

    /// Sends it to a queue in which it waits so long, or as long as one waits there at most.
    pub(crate) fn delay(&mut self, names: &Names, class: Delay, delay: Duration) {
        self.routing_key = names.retry(class).into();
        let waits = delay.min(class.most()).max(Duration::from_millis(1));
        self.properties = std::mem::take(&mut self.properties).with_expiration(waits.as_millis().to_string().into());
    }
}

/// A message that was delivered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) message: Message,
    pub(crate) notes: Notes,
    /// `None` when the message says all of it.
    pub(crate) original: Option<Box<Original>>,
}

/// What a foreign message had that the headers of a [`Message`] do not tell, for copies of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Original {
    properties: BasicProperties,
    /// `x-death` without what our own queues did; `None` when they did nothing.
    deaths: Option<AMQPValue>,
    /// Headers that are not shown, because a property of the same name is.
    hidden: Vec<(ShortString, AMQPValue)>,
}

impl Original {
    /// The value as which a header came that is shown so; it may have travelled under another name.
    fn value(&self, name: &str, shown: Option<&[u8]>) -> Option<&AMQPValue> {
        let table = self.properties.headers().as_ref()?.inner();
        let deaths = self.deaths.as_ref().filter(|_| name == deaths::DEATHS);
        let kept = kept::name_in_copy(name).and_then(|name| table.get(name));
        [deaths, table.get(name), kept].into_iter().flatten().find(|value| text::shown(value).as_deref() == shown)
    }

    /// Whether the shown header of this name, which looks like a property, is a header.
    fn is_header(&self, name: &str) -> bool {
        let table = self.properties.headers().as_ref();
        table.is_some_and(|table| table.contains_key(name))
            && self.hidden.iter().all(|(hidden, _)| hidden.as_str() != name)
    }
}

#[cfg(test)]
mod tests;

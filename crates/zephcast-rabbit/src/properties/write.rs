//! From a [`Message`] to a message of AMQP.

use std::collections::BTreeMap;
use std::mem;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, LongString, ShortString};
use zephcast_core::{Error, ErrorKind, Message, MessageId, RESERVED_PREFIX, Result};

use super::notes::{self, Notes};
use super::{ID, KEY, MAX_SHORT, OWN_TIMESTAMP, Original, Outgoing, deaths, kept, size, standard};
use crate::clock::now_ms;
use crate::error::{error, invalid};

/// Kept free in the frame of a first publish, so that what is taken can be copied with [`Notes`], and come back with what
/// the broker writes of queues that dead-lettered it.
pub(crate) const ROOM_FOR_NOTES: usize = 8 * 1_024;

/// What a message is first published as. `max_header_bytes` is the largest frame of the connection, [`ROOM_FOR_NOTES`]
/// included.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for what cannot be carried or is the broker's own, naming a header and never its value;
/// [`ErrorKind::TooLarge`] when everything but the payload is larger than a frame.
pub(crate) fn encode(message: &Message, exchange: &str, max_header_bytes: usize) -> Result<Outgoing> {
    encode_at(message, exchange, max_header_bytes, now_ms())
}

pub(super) fn encode_at(message: &Message, exchange: &str, max_header_bytes: usize, now_ms: u64) -> Result<Outgoing> {
    let mut draft = first(message, now_ms)?;
    let key = message.key().map_or(&[][..], |key| key);
    if key.len() > MAX_SHORT {
        return Err(invalid(
            "publish",
            format!("the key has {} bytes; a routing key has at most {MAX_SHORT}", key.len()),
        ));
    }
    let mut routing_key = ShortString::default();
    match std::str::from_utf8(key) {
        Ok(key) if !key.is_empty() => routing_key = key.into(),
        _ if message.key().is_some() => draft.insert(KEY, bytes(key))?,
        _ => {}
    }
    draft.finish(message, exchange, routing_key, max_header_bytes.saturating_sub(ROOM_FOR_NOTES))
}

/// As [`encode`], straight into a queue.
pub(crate) fn encode_for_queue(message: &Message, queue: &str, max_header_bytes: usize) -> Result<Outgoing> {
    let mut draft = first(message, now_ms())?;
    draft.insert_key(message)?;
    draft.finish(message, "", queue.into(), max_header_bytes.saturating_sub(ROOM_FOR_NOTES))
}

/// What a first publish has beside its key.
fn first(message: &Message, now_ms: u64) -> Result<Draft> {
    let mut draft = Draft::default();
    for (name, value) in message.headers().iter() {
        let name = checked_name(name)?;
        let value = value.ok_or_else(|| null(name))?;
        if name.starts_with(standard::PREFIX) {
            draft.set(name, value)?;
        } else if deaths::is_brokers(name) {
            return Err(refused(name, "is the broker's own"));
        } else {
            draft.insert(name, bytes(value))?;
        }
    }
    draft.table.insert(notes::PUBLISHED.into(), notes::number(now_ms));
    draft.date(now_ms);
    Ok(draft)
}

/// What a delivered message is published as into a queue of the group's own, whose name is to be the routing key. What is
/// not told by the message is taken from its original; a header whose value was changed, or that was added, is written as
/// in a first publish, and one that was removed is gone.
///
/// # Errors
/// As [`encode`]; for a message as it was delivered only [`ErrorKind::TooLarge`], when a foreign program left no room for
/// notes.
pub(crate) fn encode_copy(
    message: &Message,
    original: Option<&Original>,
    notes: &Notes,
    max_header_bytes: usize,
) -> Result<Outgoing> {
    let mut draft = Draft::default();
    for (name, value) in message.headers().iter() {
        let name = checked_name(name)?;
        let is_header =
            !name.starts_with(standard::PREFIX) || original.is_some_and(|original| original.is_header(name));
        if !is_header {
            let value = value.ok_or_else(|| null(name))?;
            match kept::property_in_copy(name, value) {
                Some(kept) => draft.insert(kept, bytes(value))?,
                None => draft.set(name, value)?,
            }
            continue;
        }
        let unchanged = original.and_then(|original| original.value(name, value.map(|value| &value[..])));
        let typed = match (unchanged, value) {
            (Some(original), _) => original.clone(),
            (None, Some(value)) => bytes(value),
            (None, None) => return Err(null(name)),
        };
        // A header that looks like a property is nothing to the broker.
        let kept = if name.starts_with(standard::PREFIX) { None } else { kept::name_in_copy(name) };
        draft.insert(kept.unwrap_or(name), typed)?;
    }
    for (name, value) in original.map_or(&[][..], |original| &original.hidden) {
        draft.table.entry(name.clone()).or_insert_with(|| value.clone());
    }
    draft.insert_key(message)?;
    draft.table.extend(notes.headers());
    if let Some(published_ms) = notes.published_ms {
        draft.date(published_ms);
    }
    draft.finish(message, "", ShortString::default(), max_header_bytes)
}

/// A message in the making.
#[derive(Default)]
struct Draft {
    /// Those that it has of its own.
    properties: BasicProperties,
    /// When it was published, in seconds: its timestamp, if it has none of its own.
    published: Option<u64>,
    table: BTreeMap<ShortString, AMQPValue>,
}

impl Draft {
    fn insert(&mut self, name: &str, value: AMQPValue) -> Result<()> {
        match self.table.insert(name.into(), value) {
            Some(_) => Err(refused(name, "occurs twice")),
            None => Ok(()),
        }
    }

    /// Where a queue's name is the routing key. Void says that there is no key.
    fn insert_key(&mut self, message: &Message) -> Result<()> {
        self.insert(KEY, message.key().map_or(AMQPValue::Void, |key| bytes(key)))
    }

    fn set(&mut self, name: &str, value: &[u8]) -> Result<()> {
        self.properties = standard::set(mem::take(&mut self.properties), name, value)?;
        Ok(())
    }

    fn date(&mut self, published_ms: u64) {
        let seconds = published_ms / 1_000;
        if *self.properties.timestamp() == Some(seconds) {
            self.table.insert(OWN_TIMESTAMP.into(), AMQPValue::Boolean(true));
        }
        self.published = Some(seconds);
    }

    fn finish(
        mut self,
        message: &Message,
        exchange: &str,
        routing_key: ShortString,
        max_header_bytes: usize,
    ) -> Result<Outgoing> {
        if !message.has_payload() {
            return Err(invalid("publish", "a message without a payload (null) cannot be stored; an empty one can"));
        }
        let mut properties = self.properties.with_delivery_mode(standard::PERSISTENT);
        if let (None, Some(published)) = (properties.timestamp(), self.published) {
            properties = properties.with_timestamp(published);
        }
        if let Some(id) = message.id().map(MessageId::as_bytes) {
            match std::str::from_utf8(id) {
                Ok(id) if (1..=MAX_SHORT).contains(&id.len()) => properties = properties.with_message_id(id.into()),
                _ => drop(self.table.insert(ID.into(), bytes(id))),
            }
        }
        let properties = properties.with_headers(self.table.into());
        let header_bytes = size::header_frame(&properties);
        if header_bytes > max_header_bytes {
            let why = format!("id and headers take {header_bytes} bytes, at most {max_header_bytes} are allowed");
            return Err(error(ErrorKind::TooLarge, "publish", why));
        }
        let payload = message.payload().clone();
        Ok(Outgoing { exchange: exchange.into(), routing_key, properties, header_bytes, payload })
    }
}

fn bytes(value: &[u8]) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

fn checked_name(name: &Bytes) -> Result<&str> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(refused(&String::from_utf8_lossy(name), "has a name that is not UTF-8"));
    };
    if text.starts_with(RESERVED_PREFIX) {
        return Err(refused(text, &format!("begins with the reserved `{RESERVED_PREFIX}`")));
    }
    if text.len() > MAX_SHORT {
        return Err(refused(text, &format!("has a name of {} bytes; at most {MAX_SHORT} are allowed", text.len())));
    }
    Ok(text)
}

fn null(name: &str) -> Error {
    refused(name, "has no value (null)")
}

fn refused(name: &str, why: &str) -> Error {
    invalid("publish", format!("the header {name:?} {why}"))
}

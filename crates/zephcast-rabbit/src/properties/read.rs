//! From a message of AMQP to a [`Message`].

use bytes::{Bytes, BytesMut};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};
use zephcast_core::{Message, MessageId, RESERVED_PREFIX};

use super::notes::Notes;
use super::{Decoded, ID, KEY, OWN_TIMESTAMP, Original, deaths, kept, standard, text};

/// Takes a delivered message apart. `own_prefix`, such as `orders.billing.`, begins the names of the group's own queues:
/// what these did to the message is not shown. Never fails on what a foreign program wrote.
pub(crate) fn decode(payload: Bytes, routing_key: &str, properties: BasicProperties, own_prefix: &str) -> Decoded {
    let mut reader = Reader::new(&properties, routing_key);
    if let Some(headers) = properties.headers() {
        let table = headers.inner();
        for (name, value) in table {
            let name = name.as_str();
            if name.starts_with(RESERVED_PREFIX) {
                reader.take_ours(name, value);
            } else if name.starts_with(standard::PREFIX) {
                reader.lookalikes.push((name, value));
            } else if name.starts_with("x-") {
                match deaths::shown(name, value, table, own_prefix) {
                    deaths::Shown::AsItIs => reader.show(name, value),
                    deaths::Shown::Rest(rest) => {
                        reader.show(name, &rest);
                        reader.deaths = Some(rest);
                    }
                    deaths::Shown::Nothing => {}
                }
            } else {
                reader.show(name, value);
            }
        }
    }
    reader.show_properties();
    let key = reader.key(routing_key);
    let id = reader.id();
    let Reader { mut headers, notes, is_told, deaths, hidden, .. } = reader;
    // Most often they are so already.
    headers.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let message = Message::from_parts(Some(payload), key, headers.into_iter().collect(), id);
    let original = (!is_told).then(|| Box::new(Original { properties, deaths, hidden }));
    Decoded { message, notes, original }
}

struct Reader<'a> {
    properties: &'a BasicProperties,
    /// What is kept of the message lies here one after another, so that it takes one allocation.
    room: BytesMut,
    headers: Vec<(Bytes, Option<Bytes>)>,
    notes: Notes,
    /// The header that says the key.
    key: Option<&'a AMQPValue>,
    /// The header that says the id.
    id: Option<&'a AMQPValue>,
    own_timestamp: bool,
    /// What a copy carries under another name, with the name under which it is shown.
    kept: Vec<(&'static str, &'a AMQPValue)>,
    /// Headers that look like a property.
    lookalikes: Vec<(&'a str, &'a AMQPValue)>,
    /// Whether the message tells all there is to tell.
    is_told: bool,
    deaths: Option<AMQPValue>,
    hidden: Vec<(ShortString, AMQPValue)>,
}

impl<'a> Reader<'a> {
    fn new(properties: &'a BasicProperties, routing_key: &str) -> Self {
        let table = properties.headers().iter().flatten();
        let headers: usize =
            table.map(|(name, value)| name.as_str().len() + text::bytes(value).map_or(0, <[u8]>::len)).sum();
        let id = properties.message_id().as_ref().map_or(0, |id| id.as_str().len());
        Self {
            properties,
            room: BytesMut::with_capacity(routing_key.len() + id + headers),
            headers: Vec::new(),
            notes: Notes::default(),
            key: None,
            id: None,
            own_timestamp: false,
            kept: Vec::new(),
            lookalikes: Vec::new(),
            is_told: true,
            deaths: None,
            hidden: Vec::new(),
        }
    }

    fn take_ours(&mut self, name: &str, value: &'a AMQPValue) {
        match name {
            KEY => self.key = Some(value),
            ID => self.id = Some(value),
            OWN_TIMESTAMP => self.own_timestamp = true,
            _ => match kept::shown_name(name, value) {
                Some(shown) => self.kept.push((shown, value)),
                None => self.notes.read(name, value),
            },
        }
    }

    fn show(&mut self, name: &str, value: &AMQPValue) {
        let name = self.keep(name.as_bytes());
        let shown = text::shown(value).map(|shown| self.keep(&shown));
        self.headers.push((name, shown));
        self.is_told &= text::says_all(value);
    }

    /// Shows everything whose header begins with `amqp.`, and what copies carry under another name. What has the name of a
    /// header that is shown already is not.
    fn show_properties(&mut self) {
        let published =
            self.notes.published_ms.filter(|_| !self.own_timestamp).map(|published_ms| published_ms / 1_000);
        let (room, headers) = (&mut self.room, &mut self.headers);
        standard::show(
            self.properties,
            |seconds| Some(seconds) == published,
            |name, value| {
                headers.push((Bytes::from_static(name.as_bytes()), Some(keep(room, value))));
            },
        );
        for (name, value) in std::mem::take(&mut self.kept) {
            if !self.has(name) {
                self.show(name, value);
            }
        }
        for (name, value) in std::mem::take(&mut self.lookalikes) {
            self.is_told = false;
            if self.has(name) {
                self.hidden.push((name.into(), value.clone()));
            } else {
                self.show(name, value);
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(shown, _)| shown == name.as_bytes())
    }

    fn key(&mut self, routing_key: &str) -> Option<Bytes> {
        match self.key {
            Some(AMQPValue::Void) => None,
            Some(value) if text::bytes(value).is_some() => text::bytes(value).map(|key| self.keep(key)),
            _ => (!routing_key.is_empty()).then(|| self.keep(routing_key.as_bytes())),
        }
    }

    fn id(&mut self) -> Option<MessageId> {
        let property = self.properties.message_id().as_ref().map(|id| id.as_str().as_bytes());
        let id = self.id.and_then(text::bytes).or(property)?;
        Some(MessageId::new(self.keep(id)))
    }

    fn keep(&mut self, bytes: &[u8]) -> Bytes {
        keep(&mut self.room, bytes)
    }
}

fn keep(room: &mut BytesMut, bytes: &[u8]) -> Bytes {
    if bytes.is_empty() {
        return Bytes::new();
    }
    room.extend_from_slice(bytes);
    room.split().freeze()
}

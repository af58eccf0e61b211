//! Messages as entries of a stream: the payload in its field, the key and the id in reserved ones, every other field a
//! header. No envelope, so that plain clients read what is written here and what they write is read here.

use bytes::Bytes;
use fred::types::{Key, Value};
use zephcast_core::{Headers, Message, MessageId, RESERVED_PREFIX, Result, Token};

use crate::error::{garbled, invalid};
use crate::reply::{Frame, array, bytes, parse_id};

pub(crate) const KEY: &str = "zephcast-key";
pub(crate) const ID: &str = "zephcast-id";
/// Where a message lies in its stream, while it lies in a helper stream: an id, or `STREAM@ID` of a dead letter.
pub(crate) const ORIGIN: &str = "zephcast-origin";
/// Attempts that count, before it came to the helper stream.
pub(crate) const ATTEMPTS: &str = "zephcast-attempts";
pub(crate) const FIRST_FAILED: &str = "zephcast-first-failed-ms";
pub(crate) const LAST_FAILED: &str = "zephcast-last-failed-ms";
pub(crate) const REASON: &str = "zephcast-reason";
pub(crate) const GROUP: &str = "zephcast-group";
/// Makes equal messages differ where they wait for later.
pub(crate) const SOURCE: &str = "zephcast-source";

/// The most fields of an entry that a script can hand to one command: Lua's stack holds less than 8,000 names and values.
pub(crate) const MAX_FIELDS: usize = 3_900;
/// The most headers of a message: with notes it must be one that scripts can move.
const MAX_HEADERS: usize = 3_000;

/// Names and values in order.
pub(crate) type Fields = Vec<(Key, Value)>;

/// What a message is written as.
///
/// # Errors
/// `InvalidInput` when the message is nothing that an entry can carry.
pub(crate) fn encode(message: &Message, payload_field: &Bytes) -> Result<Fields> {
    let refuse = |why: String| Err(invalid("publish", why));
    if !message.has_payload() {
        return refuse("a message without a payload (null) cannot be stored; an empty one can".into());
    }
    let headers = message.headers();
    if headers.len() > MAX_HEADERS {
        return refuse(format!("the message has {} headers, at most {MAX_HEADERS} are allowed", headers.len()));
    }
    for (name, value) in headers.iter() {
        if value.is_none() {
            return refuse(format!("the header {:?} has no value (null)", String::from_utf8_lossy(name)));
        }
        if name == payload_field {
            return refuse(format!("the header {:?} has the name of the payload", String::from_utf8_lossy(name)));
        }
    }
    Ok(fields(message, payload_field, 0))
}

/// As [`encode`], for a message that was delivered: whatever it has can be written again. Leaves room for `more`.
pub(crate) fn fields(message: &Message, payload_field: &Bytes, more: usize) -> Fields {
    let mut fields = Vec::with_capacity(3 + message.headers().len() + more);
    if message.has_payload() {
        fields.push((Key::from(payload_field.clone()), Value::from(message.payload().clone())));
    }
    if let Some(id) = message.id() {
        fields.push((Key::from_static_str(ID), Value::from(id.as_bytes().clone())));
    }
    if let Some(key) = message.key() {
        fields.push((Key::from_static_str(KEY), Value::from(key.clone())));
    }
    let headers = message.headers().iter();
    fields.extend(
        headers.map(|(name, value)| (Key::from(name.clone()), Value::from(value.cloned().unwrap_or_default()))),
    );
    fields
}

/// An entry, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    /// Reserved fields that say something about the message, in order.
    notes: Vec<(Bytes, Bytes)>,
}

impl Entry {
    /// Takes the fields of an entry apart. Never fails on what a foreign program wrote.
    pub(crate) fn decode(operation: &'static str, fields: Frame, payload_field: &Bytes) -> Result<Self> {
        let fields = array(operation, fields)?;
        if !fields.len().is_multiple_of(2) {
            return Err(garbled(operation, "an entry has a field without a value"));
        }
        let mut fields = fields.into_iter();
        let mut entry = Self::default();
        let (mut payload, mut key, mut id) = (None, None, None);
        let mut headers = Headers::new();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            let (name, value) = (bytes(operation, name)?, bytes(operation, value)?);
            if payload.is_none() && name == payload_field {
                payload = Some(value);
            } else if !name.starts_with(RESERVED_PREFIX.as_bytes()) {
                headers.append(name, value);
            } else if key.is_none() && name == KEY {
                key = Some(value);
            } else if id.is_none() && name == ID {
                id = Some(value);
            } else {
                entry.notes.push((name, value));
            }
        }
        let mut message = payload.map_or_else(Message::without_payload, Message::new);
        if let Some(key) = key {
            message = message.with_key(key);
        }
        if let Some(id) = id {
            message = message.with_id(MessageId::new(id));
        }
        if !headers.is_empty() {
            message = message.with_headers(headers);
        }
        entry.message = message;
        Ok(entry)
    }

    /// A note about the message, as text.
    pub(crate) fn note(&self, name: &str) -> Option<&str> {
        let (_, value) = self.notes.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(value).ok()
    }

    /// A note that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.note(name)?.parse().ok()
    }

    /// Where the message lies in its stream, by the note.
    pub(crate) fn origin(&self) -> Option<Token> {
        self.note(ORIGIN).and_then(|id| parse_id(id.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use fred::types::Resp3Frame;
    use proptest::prelude::*;
    use zephcast_core::ErrorKind;

    use super::*;

    fn data() -> Bytes {
        Bytes::from_static(b"data")
    }

    fn blob(data: Bytes) -> Frame {
        Resp3Frame::BlobString { data, attributes: None }
    }

    fn list(data: Vec<Frame>) -> Frame {
        Resp3Frame::Array { data, attributes: None }
    }

    /// What the server hands back for what was written.
    fn stored(fields: Fields) -> Frame {
        let flat = fields.into_iter().flat_map(|(name, value)| {
            let value = value.into_bytes().unwrap_or_default();
            [blob(Bytes::copy_from_slice(name.as_bytes())), blob(value)]
        });
        list(flat.collect())
    }

    #[test]
    fn what_an_entry_cannot_carry_is_refused() {
        let mut null_header = Message::new("x");
        null_header.headers_mut().append_null("h");
        let cases = [
            (Message::without_payload(), "without a payload"),
            (null_header, "no value"),
            (Message::new("x").with_header("data", "y"), "name of the payload"),
        ];
        for (message, part) in cases {
            let error = encode(&message, &data()).expect_err(part);
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_foreign_entry_keeps_every_field_and_forges_nothing() {
        let pairs = ["a", "1", "data", "body", "a", "2", "zephcast-attempts", "9", "data", "more"];
        let frame = list(pairs.iter().map(|text| blob(Bytes::from(*text))).collect());
        let entry = Entry::decode("fetch", frame, &data()).unwrap();
        let expected = [("a", "1"), ("a", "2"), ("data", "more")]
            .into_iter()
            .fold(Message::new("body"), |message, (name, value)| message.with_header(name, value));
        assert_eq!(entry.message, expected);
        assert_eq!(entry.number(ATTEMPTS), Some(9));
    }

    #[test]
    fn an_entry_without_the_payload_field_has_no_payload() {
        let frame = list(vec![blob(Bytes::from("x")), blob(Bytes::from("y"))]);
        let entry = Entry::decode("fetch", frame, &data()).unwrap();
        assert!(!entry.message.has_payload());
        assert_eq!(entry.message.headers().first_str("x"), Some("y"));
    }

    proptest! {
        #[test]
        fn any_message_comes_back_byte_exact(
            payload: Vec<u8>,
            key: Option<Vec<u8>>,
            id: Option<Vec<u8>>,
            headers in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..6),
        ) {
            let mut message = Message::new(payload);
            if let Some(key) = key { message = message.with_key(key); }
            if let Some(id) = id { message = message.with_id(MessageId::new(id)); }
            for (name, value) in headers { message = message.with_header(name, value); }
            prop_assume!(message.check_reserved().is_ok());
            let fields = encode(&message, &data()).unwrap();
            let entry = Entry::decode("fetch", stored(fields), &data()).unwrap();
            prop_assert_eq!(entry.message, message);
        }

        #[test]
        fn any_entry_is_decoded_or_refused(fields in prop::collection::vec(any::<Option<Vec<u8>>>(), 0..12)) {
            let frames = fields.into_iter().map(|field| field.map_or(Resp3Frame::Null, |field| blob(field.into())));
            let _ = Entry::decode("fetch", list(frames.collect()), &data());
        }
    }
}

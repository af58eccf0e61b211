//! A record of the input: one JSON object a line.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use zephcast::{Headers, Message, MessageId};

/// Makes a message of a record, or says what is wrong with it.
pub(crate) fn message(line: &[u8]) -> Result<Message, String> {
    // Structs are read from arrays too, in the order of their fields: that would be a guess.
    if line.trim_ascii_start().starts_with(b"[") {
        return Err("it is an array, and a record is an object".into());
    }
    let record: Record = serde_json::from_slice(line).map_err(|error| explain(&error))?;
    let payload = match (record.payload, record.payload_base64) {
        (Some(text), None) => text.map(Bytes::from),
        (None, Some(Base64(bytes))) => Some(bytes),
        (None, None) => return Err("it has neither \"payload\" nor \"payload_base64\"".into()),
        (Some(_), Some(_)) => return Err("it has both \"payload\" and \"payload_base64\"".into()),
    };
    let key = match (record.key, record.key_base64) {
        (Some(_), Some(_)) => return Err("it has both \"key\" and \"key_base64\"".into()),
        (key, encoded) => key.map(Bytes::from).or(encoded.map(|Base64(bytes)| bytes)),
    };
    let mut headers = record.headers.0;
    for BinaryHeader { name_base64: Base64(name), value_base64 } in record.headers_binary {
        match value_base64 {
            Some(Base64(value)) => headers.append(name, value),
            None => headers.append_null(name),
        }
    }
    let mut message = payload.map_or_else(Message::without_payload, Message::new).with_headers(headers);
    if let Some(key) = key {
        message = message.with_key(key);
    }
    match (record.id, record.id_base64) {
        (Some(_), Some(_)) => Err("it has both \"id\" and \"id_base64\"".into()),
        (Some(id), None) => Ok(message.with_id(MessageId::new(id))),
        (None, Some(Base64(id))) => Ok(message.with_id(MessageId::new(id))),
        (None, None) => Ok(message),
    }
}

/// What a record may contain. A name that is misspelt must not pass unseen, but what `consume` writes can be read back.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// `Some(None)` is null, `None` is absent.
    #[serde(default, deserialize_with = "present")]
    payload: Option<Option<String>>,
    payload_base64: Option<Base64>,
    key: Option<String>,
    key_base64: Option<Base64>,
    #[serde(default)]
    headers: Fields,
    #[serde(default)]
    headers_binary: Vec<BinaryHeader>,
    id: Option<String>,
    id_base64: Option<Base64>,
    #[serde(rename = "event")]
    _event: Option<IgnoredAny>,
    #[serde(rename = "token")]
    _token: Option<IgnoredAny>,
    #[serde(rename = "position")]
    _position: Option<IgnoredAny>,
    #[serde(rename = "attempt")]
    _attempt: Option<IgnoredAny>,
    #[serde(rename = "redelivered")]
    _redelivered: Option<IgnoredAny>,
    #[serde(rename = "published_ms")]
    _published_ms: Option<IgnoredAny>,
    #[serde(rename = "member")]
    _member: Option<IgnoredAny>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Bytes in base64.
struct Base64(Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let decoded =
            STANDARD.decode(text).map_err(|error| serde::de::Error::custom(format!("bad base64: {error}")))?;
        Ok(Self(decoded.into()))
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BinaryHeader {
    name_base64: Base64,
    value_base64: Option<Base64>,
}

/// A header's value as `consume` writes it.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "a header is text, null, {\"base64\": \"...\"} or an array of those")]
enum Value {
    Text(String),
    /// Before what is encoded, which could be read from an array too.
    Several(Vec<Value>),
    Encoded {
        base64: Base64,
    },
    Null(()),
}

/// Headers in the order of the input, duplicates kept.
#[derive(Default)]
struct Fields(Headers);

impl Fields {
    fn append(&mut self, name: &Bytes, value: Value) {
        match value {
            Value::Text(text) => self.0.append(name.clone(), text),
            Value::Encoded { base64: Base64(bytes) } => self.0.append(name.clone(), bytes),
            Value::Null(()) => self.0.append_null(name.clone()),
            Value::Several(values) => values.into_iter().for_each(|value| self.append(name, value)),
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    fields.append(&Bytes::from(name), value);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What is wrong, with the column; the line is known better by who reads the input.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("{what} at column {}", error.column())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;
    use zephcast::driver::Stored;
    use zephcast::{MemberName, Position, PositionStyle, Token, UnitId};

    use super::*;
    use crate::output::messages::DeliveryRecord;

    fn read(line: &str) -> Message {
        message(line.as_bytes()).expect(line)
    }

    #[test]
    fn reads_text_base64_and_null() {
        assert_eq!(read(r#"{"payload":"hi"}"#), Message::new("hi"));
        assert_eq!(read(r#"{"payload_base64":"/wA="}"#), Message::new(&[0xff, 0][..]));
        assert_eq!(read(r#"{"payload":null}"#), Message::without_payload());
        let whole = read(r#"{"payload":"","key_base64":"/w==","id":"i","headers":{"a":"1","b":{"base64":"/w=="}}}"#);
        let expected = Message::new("").with_key(&[0xff][..]).with_id(MessageId::new("i"));
        assert_eq!(whole, expected.with_header("a", "1").with_header("b", &[0xff][..]));
    }

    #[test]
    fn an_array_is_no_record_and_no_encoded_header() {
        assert!(message(br#" ["hi"]"#).unwrap_err().contains("array"));
        let expected = Message::new("").with_header("h", "aGk=");
        assert_eq!(read(r#"{"payload":"","headers":{"h":["aGk="]}}"#), expected);
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        let any = vec(any::<u8>(), 0..6).prop_map(Bytes::from);
        prop_oneof!["\\PC{0,4}".prop_map(Bytes::from), any, Just(Bytes::from_static(b"\0\"\\\n"))]
    }

    /// Names are few, so that some of them occur twice.
    fn headers() -> impl Strategy<Value = Headers> {
        let name = prop_oneof![bytes(), Just(Bytes::from_static(b"h")), Just(Bytes::from_static(b"base64"))];
        vec((name, of(bytes())), 0..6).prop_map(|headers| headers.into_iter().collect())
    }

    /// What occurs twice is written together, and names that are not text come last: as records have them.
    fn in_the_order_of_records(headers: &Headers) -> Headers {
        let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), value.cloned())).collect();
        let is_binary = |name: &Bytes| std::str::from_utf8(name).is_err();
        let first = |name: &Bytes| match is_binary(name) {
            true => 0,
            false => headers.iter().position(|(other, _)| other == name).unwrap(),
        };
        all.sort_by_key(|(name, _)| (is_binary(name), first(name)));
        all.into_iter().collect()
    }

    proptest! {
        #[test]
        fn reads_back_what_consume_writes(
            payload in of(bytes()), key in of(bytes()), id in of(bytes()), headers in headers(), published_ms in of(0..9_u64),
        ) {
            let mut message = payload.map_or_else(Message::without_payload, Message::new).with_headers(headers);
            if let Some(key) = key {
                message = message.with_key(key);
            }
            if let Some(id) = id {
                message = message.with_id(MessageId::new(id));
            }
            let position = Position::new(PositionStyle::UnitOffset, UnitId(0), Token(7, 0));
            let stored = Stored { position, message, published_ms };
            let member = MemberName::unique();
            let record = DeliveryRecord::browsed(17, &stored, &member);
            let mut expected = stored.message.clone();
            *expected.headers_mut() = in_the_order_of_records(stored.message.headers());
            let line = serde_json::to_vec(&record).unwrap();
            prop_assert_eq!(super::message(&line).unwrap(), expected);
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (line, part) in [
            ("", "EOF"),
            ("hello", "column 1"),
            ("[]", "array"),
            ("{}", "neither"),
            (r#"{"payload":"a","payload_base64":"YQ=="}"#, "both"),
            (r#"{"payload":"a","id":"i","id_base64":"aQ=="}"#, "both"),
            (r#"{"payload":"a","payload":"b"}"#, "duplicate"),
            (r#"{"payload":1}"#, "string"),
            (r#"{"payload":"a","hedaers":{}}"#, "hedaers"),
            (r#"{"payload_base64":"*"}"#, "base64"),
            (r#"{"payload":"a","headers":{"x":1}}"#, "header"),
            (r#"{"payload":"a"} x"#, "trailing"),
        ] {
            let error = message(line.as_bytes()).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
            assert!(!error.contains("line"), "{line}: {error}");
        }
        assert!(message(b"{\"payload\":\"\xff\"}").is_err());
    }
}

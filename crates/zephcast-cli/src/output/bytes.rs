//! Bytes in JSON: text where they are UTF-8, base64 under another key where they are not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};
use zephcast::Headers;

/// Writes `"name": "text"`, `"name": null`, or `"name_base64": "..."`.
pub(crate) fn entry<M: SerializeMap>(map: &mut M, name: &'static str, value: Option<&[u8]>) -> Result<(), M::Error> {
    match value.map(std::str::from_utf8) {
        None => map.serialize_entry(name, &()),
        Some(Ok(text)) => map.serialize_entry(name, text),
        Some(Err(_)) => map.serialize_entry(&format!("{name}_base64"), &STANDARD.encode(value.unwrap_or_default())),
    }
}

/// Writes `"headers": {...}`, and `"headers_binary": [...]` when there are names that are not UTF-8.
pub(crate) fn headers<M: SerializeMap>(map: &mut M, headers: &Headers) -> Result<(), M::Error> {
    map.serialize_entry("headers", &Named(headers))?;
    match headers.iter().any(|(name, _)| std::str::from_utf8(name).is_err()) {
        true => map.serialize_entry("headers_binary", &Binary(headers)),
        false => Ok(()),
    }
}

/// A header's value: text, `{"base64": ...}` or null.
struct Value<'a>(Option<&'a Bytes>);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.map(|value| (value, std::str::from_utf8(value))) {
            None => serializer.serialize_unit(),
            Some((_, Ok(text))) => serializer.serialize_str(text),
            Some((value, Err(_))) => serializer.collect_map([("base64", STANDARD.encode(value))]),
        }
    }
}

/// The headers whose names are text: an object in order of first occurrence; what occurs twice is an array in order.
struct Named<'a>(&'a Headers);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (n, (name, value)) in self.0.iter().enumerate() {
            let Ok(text) = std::str::from_utf8(name) else { continue };
            if self.0.iter().take(n).any(|(earlier, _)| earlier == name) {
                continue;
            }
            match self.0.iter().skip(n + 1).any(|(later, _)| later == name) {
                false => map.serialize_entry(text, &Value(value))?,
                true => {
                    let same = self.0.iter().filter(|(other, _)| *other == name);
                    map.serialize_entry(text, &same.map(|(_, value)| Value(value)).collect::<Vec<_>>())?;
                }
            }
        }
        map.end()
    }
}

/// The headers whose names are not text.
struct Binary<'a>(&'a Headers);

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let binary = self.0.iter().filter(|(name, _)| std::str::from_utf8(name).is_err());
        serializer.collect_seq(binary.map(|(name, value)| BinaryHeader {
            name_base64: STANDARD.encode(name),
            value_base64: value.map(|value| STANDARD.encode(value)),
        }))
    }
}

#[derive(serde::Serialize)]
struct BinaryHeader {
    name_base64: String,
    value_base64: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Whole<'a>(Option<&'a [u8]>, &'a Headers);

    impl Serialize for Whole<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            entry(&mut map, "payload", self.0)?;
            headers(&mut map, self.1)?;
            map.end()
        }
    }

    fn json(payload: Option<&[u8]>, headers: &Headers) -> String {
        serde_json::to_string(&Whole(payload, headers)).unwrap()
    }

    #[test]
    fn text_is_text_null_is_null_and_the_rest_is_base64() {
        let none = Headers::new();
        assert_eq!(json(Some(b"hi \"you\""), &none), r#"{"payload":"hi \"you\"","headers":{}}"#);
        assert_eq!(json(Some(b""), &none), r#"{"payload":"","headers":{}}"#);
        assert_eq!(json(None, &none), r#"{"payload":null,"headers":{}}"#);
        assert_eq!(json(Some(&[0xff, 0]), &none), r#"{"payload_base64":"/wA=","headers":{}}"#);
    }

    #[test]
    fn headers_keep_order_duplicates_nulls_and_bytes() {
        let mut headers = Headers::new();
        headers.append("b", "1");
        headers.append("a", Bytes::from_static(&[0xff]));
        headers.append_null("n");
        headers.append("b", "2");
        headers.append(Bytes::from_static(&[0xfe]), "v");
        assert_eq!(
            json(None, &headers),
            concat!(
                r#"{"payload":null,"headers":{"b":["1","2"],"a":{"base64":"/w=="},"n":null},"#,
                r#""headers_binary":[{"name_base64":"/g==","value_base64":"dg=="}]}"#
            )
        );
    }
}

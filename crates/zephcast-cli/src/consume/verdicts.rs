//! What comes in with `--settle stdin`: one JSON object a line.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use zephcast::Verdict;

/// One line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Settle the delivery of this token.
    Settle { token: u64, verdict: Verdict },
    /// Say when everything before is durable.
    Commit,
}

/// A line that was not understood: the token, if it names one, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotUnderstood {
    pub(crate) token: Option<u64>,
    pub(crate) why: String,
}

const FORMS: &str = r#"write {"ack":1}, {"nack":1}, {"nack":1,"after_ms":2000}, {"fail":1,"reason":"..."}, {"reject":1,"reason":"..."} or {"commit":true}"#;

/// Whoever means longer means a reject.
const LONGEST_DELAY_MS: u64 = 10 * 366 * 24 * 60 * 60 * 1_000;

/// How many keys an object has, repeated ones counted again.
struct Keys(usize);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut count = 0;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Keys(count))
            }
        }
        deserializer.deserialize_map(Counting)
    }
}

/// Reads a line. A key too many is not passed over: it may be a verdict that was meant.
pub(crate) fn parse(line: &[u8]) -> Result<Line, NotUnderstood> {
    let refuse = |token, why: &str| Err(NotUnderstood { token, why: format!("{why}; {FORMS}") });
    let mut object = match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return refuse(None, "it is no object"),
        Err(_) => return refuse(None, "it is no JSON"),
    };
    // Of a key that occurs twice the map has the last value only.
    if serde_json::from_slice::<Keys>(line).ok().is_none_or(|keys| keys.0 != object.len()) {
        return refuse(None, "a key occurs twice");
    }
    if object.get("after_ms").and_then(Value::as_u64).is_some_and(|after| after > LONGEST_DELAY_MS) {
        return refuse(None, "after_ms is more than ten years");
    }
    if object.remove("commit") == Some(Value::Bool(true)) && object.is_empty() {
        return Ok(Line::Commit);
    }
    let verbs: Vec<_> =
        ["ack", "nack", "fail", "reject"].into_iter().filter(|verb| object.contains_key(*verb)).collect();
    let [verb] = verbs[..] else { return refuse(None, "it has not exactly one verdict") };
    let Some(token) = object.remove(verb).as_ref().and_then(Value::as_u64) else {
        return refuse(None, "the token is no whole number");
    };
    let verdict = match verb {
        "ack" => Some(Verdict::Ack),
        "nack" => nack(&mut object),
        "fail" => reason(&mut object, "failed").map(Verdict::Fail),
        _ => reason(&mut object, "rejected").map(Verdict::Reject),
    };
    match verdict {
        Some(verdict) if object.is_empty() => Ok(Line::Settle { token, verdict }),
        _ => refuse(Some(token), "it has a key or a value that this verdict has not"),
    }
}

/// A verdict's name in records.
pub(crate) fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Ack => "ack",
        Verdict::Nack | Verdict::NackAfter(_) => "nack",
        Verdict::Fail(_) => "fail",
        Verdict::Reject(_) => "reject",
    }
}

fn nack(object: &mut Map<String, Value>) -> Option<Verdict> {
    match object.remove("after_ms") {
        None => Some(Verdict::Nack),
        Some(after) => after.as_u64().map(Duration::from_millis).map(Verdict::NackAfter),
    }
}

fn reason(object: &mut Map<String, Value>, default: &str) -> Option<String> {
    match object.remove("reason") {
        None => Some(default.to_owned()),
        Some(Value::String(reason)) => Some(reason),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_verdict() {
        let settle = |verdict| Ok(Line::Settle { token: 17, verdict });
        for (line, expected) in [
            (r#"{"ack":17}"#, settle(Verdict::Ack)),
            (r#"{"nack":17}"#, settle(Verdict::Nack)),
            (r#"{"nack":17,"after_ms":2000}"#, settle(Verdict::NackAfter(Duration::from_secs(2)))),
            (r#"{"fail":17,"reason":"x"}"#, settle(Verdict::Fail("x".into()))),
            (r#"{"fail":17}"#, settle(Verdict::Fail("failed".into()))),
            (r#"{"reason":"x","reject":17}"#, settle(Verdict::Reject("x".into()))),
            (r#"{"commit":true}"#, Ok(Line::Commit)),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn refuses_the_rest_and_names_the_token_it_can_see() {
        for (line, token) in [
            ("", None),
            ("ack 17", None),
            ("[17]", None),
            ("{}", None),
            (r#"{"ack":"17"}"#, None),
            (r#"{"ack":-1}"#, None),
            (r#"{"ack":17,"nack":17}"#, None),
            (r#"{"ack":17,"ack":18}"#, None),
            (r#"{"nack":17,"after_ms":1,"after_ms":2}"#, None),
            (r#"{"nack":17,"after_ms":18446744073709551615}"#, None),
            (r#"{"commit":false}"#, None),
            (r#"{"ack":17,"commit":true}"#, None),
            (r#"{"ack":17,"reason":"x"}"#, Some(17)),
            (r#"{"nack":17,"after_ms":-1}"#, Some(17)),
            (r#"{"fail":17,"reason":3}"#, Some(17)),
        ] {
            let result = parse(line.as_bytes());
            if line.contains("commit") {
                continue;
            }
            assert_eq!(result.expect_err(line).token, token, "{line}");
        }
        assert!(parse(br#"{"commit":false}"#).is_err());
    }
}

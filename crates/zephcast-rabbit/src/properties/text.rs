//! Values of AMQP's types as the bytes of a header.

use std::borrow::Cow;
use std::fmt::Write as _;

use lapin::types::{AMQPValue, DecimalValue};

/// What lies deeper is not shown.
const MAX_DEPTH: usize = 16;
/// What is shown of it.
const TOO_DEEP: &str = "\"...\"";

/// What is shown of a value: bytes as they are, tables and arrays as JSON, everything else as a person would write it.
/// `None` for void.
pub(super) fn shown(value: &AMQPValue) -> Option<Cow<'_, [u8]>> {
    if let Some(bytes) = bytes(value) {
        return Some(Cow::Borrowed(bytes));
    }
    let text = match value {
        AMQPValue::Void => return None,
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) => {
            let mut json = String::new();
            write_json(value, 0, &mut json);
            json
        }
        scalar => plain(scalar),
    };
    Some(Cow::Owned(text.into_bytes()))
}

/// The value of a type that is bytes.
pub(super) fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        _ => None,
    }
}

/// Whether a header that is written with the shown bytes has the value again.
pub(super) fn says_all(value: &AMQPValue) -> bool {
    // A short string is no type of a header: no server sends it.
    matches!(value, AMQPValue::LongString(_) | AMQPValue::ShortString(_))
}

/// A count or a time, in whatever type a program may have written it.
pub(super) fn number(value: &AMQPValue) -> Option<u64> {
    match *value {
        AMQPValue::LongLongInt(number) => number.try_into().ok(),
        AMQPValue::LongInt(number) => number.try_into().ok(),
        AMQPValue::ShortInt(number) => number.try_into().ok(),
        AMQPValue::ShortShortInt(number) => number.try_into().ok(),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::Timestamp(number) => Some(number),
        _ => std::str::from_utf8(bytes(value)?).ok()?.parse().ok(),
    }
}

/// A value that holds no others.
fn plain(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Timestamp(seconds) => seconds.to_string(),
        // The fewest digits that say which one it is, with an exponent where that is shorter.
        AMQPValue::Float(number) => format!("{number:?}"),
        AMQPValue::Double(number) => format!("{number:?}"),
        AMQPValue::DecimalValue(number) => decimal(*number),
        AMQPValue::LongString(_) | AMQPValue::ShortString(_) | AMQPValue::ByteArray(_) => {
            String::from_utf8_lossy(bytes(value).unwrap_or_default()).into_owned()
        }
        AMQPValue::Void | AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) => String::new(),
    }
}

/// 12345 of scale 2 is `123.45`.
fn decimal(DecimalValue { scale, value }: DecimalValue) -> String {
    let scale = usize::from(scale);
    let mut digits = format!("{value:0>width$}", width = scale + 1);
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    digits
}

fn write_json(value: &AMQPValue, depth: usize, json: &mut String) {
    match value {
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) if depth == MAX_DEPTH => json.push_str(TOO_DEEP),
        AMQPValue::FieldArray(array) => {
            json.push('[');
            for (index, value) in array.as_slice().iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                write_json(value, depth + 1, json);
            }
            json.push(']');
        }
        AMQPValue::FieldTable(table) => {
            json.push('{');
            for (index, (name, value)) in table.into_iter().enumerate() {
                json.push_str(if index > 0 { "," } else { "" });
                write_quoted(name.as_str(), json);
                json.push(':');
                write_json(value, depth + 1, json);
            }
            json.push('}');
        }
        AMQPValue::Void => json.push_str("null"),
        // JSON has no infinity.
        AMQPValue::Float(number) if !number.is_finite() => write_quoted(&plain(value), json),
        AMQPValue::Double(number) if !number.is_finite() => write_quoted(&plain(value), json),
        text if bytes(text).is_some() => write_quoted(&plain(text), json),
        scalar => json.push_str(&plain(scalar)),
    }
}

fn write_quoted(text: &str, json: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(json, "{}", serde_json::Value::from(text));
}

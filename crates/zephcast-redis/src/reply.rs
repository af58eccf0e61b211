//! Taking a reply apart without copying what is in it.

use bytes::Bytes;
use fred::types::Resp3Frame;
use zephcast_core::{Result, Token};

use crate::error::garbled;

/// A reply of the server.
pub(crate) type Frame = Resp3Frame;

/// The elements of an array; none of a nil.
pub(crate) fn array(operation: &'static str, frame: Frame) -> Result<Vec<Frame>> {
    match frame {
        Frame::Array { data, .. } | Frame::Push { data, .. } => Ok(data),
        Frame::Null => Ok(Vec::new()),
        _ => Err(garbled(operation, "an array was expected")),
    }
}

/// Exactly `N` elements of an array.
pub(crate) fn elements<const N: usize>(operation: &'static str, frame: Frame) -> Result<[Frame; N]> {
    array(operation, frame)?.try_into().map_err(|_| garbled(operation, "an array has another length"))
}

/// A string's bytes, a slice of what was read from the socket.
pub(crate) fn bytes(operation: &'static str, frame: Frame) -> Result<Bytes> {
    match frame {
        Frame::BlobString { data, .. } | Frame::SimpleString { data, .. } | Frame::VerbatimString { data, .. } => {
            Ok(data)
        }
        Frame::Number { data, .. } => Ok(Bytes::from(data.to_string())),
        _ => Err(garbled(operation, "a string was expected")),
    }
}

/// A string as text. Bytes that are not UTF-8 are replaced: for names and numbers only, never for a payload.
pub(crate) fn text(operation: &'static str, frame: Frame) -> Result<String> {
    bytes(operation, frame).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A number, also one written as a string.
pub(crate) fn number(operation: &'static str, frame: &Frame) -> Result<i64> {
    let parsed = match frame {
        Frame::Number { data, .. } => Some(*data),
        Frame::BlobString { data, .. } | Frame::SimpleString { data, .. } => {
            std::str::from_utf8(data).ok().and_then(|text| text.parse().ok())
        }
        _ => None,
    };
    parsed.ok_or_else(|| garbled(operation, "a number was expected"))
}

/// A number that is not negative.
pub(crate) fn count(operation: &'static str, frame: &Frame) -> Result<u64> {
    number(operation, frame)?.try_into().map_err(|_| garbled(operation, "a count was expected"))
}

/// The two numbers of an entry id.
pub(crate) fn entry_id(operation: &'static str, frame: Frame) -> Result<Token> {
    parse_id(&bytes(operation, frame)?).ok_or_else(|| garbled(operation, "an entry id was expected"))
}

/// Reads `MILLISECONDS-SEQUENCE`.
pub(crate) fn parse_id(id: &[u8]) -> Option<Token> {
    let dash = id.iter().position(|byte| *byte == b'-')?;
    Some(Token(parse_number(&id[..dash])?, parse_number(&id[dash + 1..])?))
}

fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The values of a reply of alternating names and values, by name.
pub(crate) fn map(operation: &'static str, frame: Frame) -> Result<Vec<(String, Frame)>> {
    let mut rest = array(operation, frame)?.into_iter();
    let mut pairs = Vec::with_capacity(rest.len() / 2);
    while let (Some(name), Some(value)) = (rest.next(), rest.next()) {
        pairs.push((text(operation, name)?, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_read_exactly() {
        assert_eq!(parse_id(b"1763800000000-7"), Some(Token(1_763_800_000_000, 7)));
        assert_eq!(parse_id(b"18446744073709551615-18446744073709551615"), Some(Token(u64::MAX, u64::MAX)));
        for bad in ["", "-", "1", "1-", "-1", "1-x", "18446744073709551616-0", "1-2-3"] {
            assert_eq!(parse_id(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_id_comes_back(ms: u64, sequence: u64) {
            prop_assert_eq!(parse_id(format!("{ms}-{sequence}").as_bytes()), Some(Token(ms, sequence)));
        }
    }
}

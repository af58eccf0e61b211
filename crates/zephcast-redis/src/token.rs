//! Tokens: the entry id, and in which of a group's two streams the entry lies.

use bytes::{BufMut, Bytes, BytesMut};
use fred::types::Value;
use zephcast_core::{ErrorKind, Result, Token};

use crate::error::error;

/// Set in the sequence of a token of the retry stream. Redis counts sequences up from 0 within a millisecond.
const RETRIED: u64 = 1 << 63;

/// The token of an entry of the stream, or of the retry stream.
///
/// # Errors
/// `Unsupported` for an id that somebody chose so large that no token can tell it from one of the retry stream.
pub(crate) fn of_entry(operation: &'static str, id: Token, retried: bool) -> Result<Token> {
    if is_retried(id) {
        let text = format!("the entry {}-{} has a sequence number of 2^63 or more", id.0, id.1);
        return Err(error(ErrorKind::Unsupported, operation, text));
    }
    Ok(if retried { Token(id.0, id.1 | RETRIED) } else { id })
}

pub(crate) fn is_retried(token: Token) -> bool {
    token.1 & RETRIED != 0
}

/// The entry id as Redis writes it.
pub(crate) fn id(token: Token) -> String {
    format!("{}-{}", token.0, token.1 & !RETRIED)
}

/// Entry ids as arguments, all in one piece of memory: first those of the stream, then those of the retry stream.
#[derive(Debug)]
pub(crate) struct Ids {
    ids: Vec<Bytes>,
    /// The tokens in the order of the ids.
    pub(crate) tokens: Vec<Token>,
    /// How many are the stream's.
    pub(crate) of_stream: usize,
}

impl Ids {
    pub(crate) fn new(tokens: &[Token]) -> Self {
        let (retried, mut ordered): (Vec<Token>, Vec<Token>) = tokens.iter().partition(|token| is_retried(**token));
        let of_stream = ordered.len();
        ordered.extend(retried);
        let mut written = BytesMut::with_capacity(ordered.len() * 18);
        let mut ids = Vec::with_capacity(ordered.len());
        for token in &ordered {
            write_number(&mut written, token.0);
            written.put_u8(b'-');
            write_number(&mut written, token.1 & !RETRIED);
            ids.push(written.split().freeze());
        }
        Self { ids, tokens: ordered, of_stream }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = Value> {
        self.ids.iter().map(|id| Value::Bytes(id.clone()))
    }

    /// The tokens at the places that a script named.
    pub(crate) fn at(&self, places: &[u64]) -> Vec<Token> {
        places.iter().filter_map(|place| self.tokens.get(usize::try_from(*place).ok()?).copied()).collect()
    }
}

fn write_number(to: &mut BytesMut, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_that_cannot_be_told_from_a_retried_one_is_refused() {
        let error = of_entry("fetch", Token(5, 1 << 63), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("5-9223372036854775808"), "{error}");
        assert!(of_entry("fetch", Token(u64::MAX, (1 << 63) - 1), true).is_ok());
    }

    proptest! {
        #[test]
        fn ids_are_written_as_redis_writes_them(ids in prop::collection::vec((any::<u64>(), 0..RETRIED, any::<bool>()), 0..9)) {
            let tokens: Vec<Token> = ids.iter().map(|(ms, n, retried)| of_entry("test", Token(*ms, *n), *retried).unwrap()).collect();
            let written = Ids::new(&tokens);
            prop_assert_eq!(written.of_stream, ids.iter().filter(|(_, _, retried)| !retried).count());
            for (place, token) in written.tokens.iter().enumerate() {
                let expected = id(*token);
                prop_assert_eq!(&written.ids[place], expected.as_bytes());
                prop_assert_eq!(is_retried(*token), place >= written.of_stream);
            }
        }
    }
}

//! Looking at a stream without a group: plain range reads, which change nothing at the server.

use bytes::Bytes;
use fred::types::Value;
use zephcast_core::driver::{Browsed, Cursor, Stored};
use zephcast_core::{Position, PositionStyle, Result, Start, StreamName, Token};

use crate::connection::Connection;
use crate::entry::Entry;
use crate::error::invalid;
use crate::intake::UNIT;
use crate::reply::{Frame, array, elements, entry_id};
use crate::status::{groups, last_id};

const OPERATION: &str = "browse";
/// The most entries of one read.
const LONGEST_READ: usize = 1_000;
/// How much longer than the last read the next one may be: the first is of one entry, while nothing is known of their
/// size.
const GROWTH: usize = 10;
/// A look ends when it brought so many bytes. One read may exceed them.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// At most `limit` entries from the cursor on.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist.
pub(crate) async fn look(
    control: &Connection,
    payload_field: &Bytes,
    stream: &StreamName,
    from: &Cursor,
    limit: usize,
) -> Result<Browsed> {
    let mut next = first(control, stream, from).await?;
    let (mut messages, mut bytes, mut count) = (Vec::new(), 0, 1);
    while messages.len() < limit && bytes < MOST_BYTES {
        count = count.min(limit - messages.len());
        let entries = read(control, stream, next, count).await?;
        let complete = entries.len() < count;
        for entry in entries {
            let stored = stored(entry, payload_field)?;
            bytes += stored.message.byte_len();
            next = after(stored.position.token);
            messages.push(stored);
        }
        if complete {
            break;
        }
        let mean = (bytes / messages.len().max(1)).max(1);
        count = (MOST_BYTES.saturating_sub(bytes) / mean).clamp(1, LONGEST_READ.min(count * GROWTH));
    }
    if messages.is_empty() {
        // The end of a stream looks like a stream that does not exist.
        groups(control, OPERATION, stream).await?;
    }
    Ok(Browsed { messages, next: Cursor::Units([(UNIT, next)].into()) })
}

/// The first id that is meant.
async fn first(control: &Connection, stream: &StreamName, from: &Cursor) -> Result<Token> {
    match from {
        Cursor::Units(units) => match units.keys().find(|unit| **unit != UNIT) {
            Some(unit) => Err(invalid(OPERATION, format!("the stream {stream:?} has no unit {unit}"))),
            None => Ok(units.get(&UNIT).copied().unwrap_or(Token(0, 0))),
        },
        Cursor::Start(Start::Latest) => last_id(control, OPERATION, stream).await.map(after),
        Cursor::Start(Start::Time(ms)) => Ok(Token(*ms, 0)),
        Cursor::Start(Start::Position(position)) => Ok(position.token),
        // A start that this driver does not know would be refused by its capabilities.
        Cursor::Start(Start::Earliest | _) => Ok(Token(0, 0)),
    }
}

async fn read(control: &Connection, stream: &StreamName, from: Token, count: usize) -> Result<Vec<Frame>> {
    let Token(ms, sequence) = from;
    let from = format!("{ms}-{sequence}");
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let arguments: Vec<Value> = vec![stream.as_str().into(), from.into(), "+".into(), "COUNT".into(), count.into()];
    array(OPERATION, control.call(OPERATION, "XRANGE", Some(stream.as_str()), arguments).await?)
}

fn stored(entry: Frame, payload_field: &Bytes) -> Result<Stored> {
    let [token, fields] = elements(OPERATION, entry)?;
    let token = entry_id(OPERATION, token)?;
    Ok(Stored {
        position: Position::new(PositionStyle::EntryId, UNIT, token),
        message: Entry::decode(OPERATION, fields, payload_field)?.message,
        published_ms: Some(token.0),
    })
}

/// The next id that an entry can have.
fn after(Token(ms, sequence): Token) -> Token {
    match sequence.checked_add(1) {
        Some(sequence) => Token(ms, sequence),
        None => Token(ms.saturating_add(1), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_id_is_the_next_one_that_there_can_be() {
        assert_eq!(after(Token(7, 3)), Token(7, 4));
        assert_eq!(after(Token(7, u64::MAX)), Token(8, 0));
    }
}

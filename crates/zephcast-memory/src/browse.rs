//! Looking at a stream without a group.

use std::collections::VecDeque;

use zephcast_core::driver::{Browsed, Cursor, Stored};
use zephcast_core::{Position, PositionStyle, Result, Token, UnitId};

use crate::error::invalid;
use crate::stream::Stream;

/// At most `limit` records from the cursor on, the partitions woven together by the time of publishing.
///
/// # Errors
/// `InvalidInput` when the cursor has a place that this stream cannot have.
pub(crate) fn browse(stream: &Stream, from: &Cursor, limit: usize) -> Result<Browsed> {
    let mut next = places(stream, from)?;
    let mut ahead: Vec<VecDeque<Stored>> = next.iter_mut().map(|place| read(stream, place, limit)).collect();
    let mut messages = Vec::new();
    while messages.len() < limit {
        let first = ahead.iter_mut().filter(|unit| !unit.is_empty()).min_by_key(|unit| unit[0].published_ms);
        let Some(stored) = first.and_then(VecDeque::pop_front) else { break };
        let Position { unit, token: Token(offset, _), .. } = stored.position;
        next[unit.0 as usize].1 = offset + 1;
        messages.push(stored);
    }
    let next = next.into_iter().map(|(unit, offset)| (unit, Token(offset, 0))).collect();
    Ok(Browsed { messages, next: Cursor::Units(next) })
}

/// The offset in each partition, in order, where the cursor stands.
fn places(stream: &Stream, from: &Cursor) -> Result<Vec<(UnitId, u64)>> {
    let units = match from {
        Cursor::Start(start) => return Ok(stream.units().zip(stream.cursors(*start)?).collect()),
        Cursor::Units(units) => units,
    };
    match units.keys().next_back() {
        Some(last) if last.0 >= stream.partitions() => {
            Err(invalid("browse", format!("the stream {:?} has no unit {last}", stream.name())))
        }
        _ => Ok(stream.units().map(|unit| (unit, units.get(&unit).map_or(0, |token| token.0))).collect()),
    }
}

/// The next records of one partition; the place moves past what was dropped since.
fn read(stream: &Stream, (unit, offset): &mut (UnitId, u64), limit: usize) -> VecDeque<Stored> {
    let log = stream.log(*unit);
    *offset = log.start().max(*offset);
    let stored = |(offset, record): (u64, &crate::log::Record)| Stored {
        position: Position::new(PositionStyle::UnitOffset, *unit, Token(offset, 0)),
        message: record.message.clone(),
        published_ms: Some(record.published_ms),
    };
    (*offset..).zip(log.read(*offset)).take(limit).map(stored).collect()
}

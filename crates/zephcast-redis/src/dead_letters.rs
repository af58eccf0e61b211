//! What a group gave up: looking, sending back, forgetting.

use bytes::Bytes;
use fred::types::Value;
use zephcast_core::driver::{DeadLetter, Redrive};
use zephcast_core::{GroupName, Position, PositionStyle, Result, StreamName};

use crate::connection::Connection;
use crate::entry::{ATTEMPTS, Entry, FIRST_FAILED, LAST_FAILED, ORIGIN, REASON};
use crate::intake::UNIT;
use crate::keys::Keys;
use crate::reply::{Frame, array, count, elements, entry_id, number};
use crate::scripts::REDRIVE;
use crate::status::one_group;
use crate::token::id;

const OPERATION: &str = "dead letters";
/// The most that one answer brings.
const PAGE: usize = 1_000;

pub(crate) async fn list(
    control: &Connection,
    payload_field: &Bytes,
    stream: &StreamName,
    group: &GroupName,
    after: Option<Position>,
    limit: usize,
) -> Result<Vec<DeadLetter>> {
    let keys = Keys::new(stream, group);
    let mut letters: Vec<DeadLetter> = Vec::new();
    let mut after = after.map(|position| position.token);
    while letters.len() < limit {
        let page = PAGE.min(limit - letters.len());
        let from = after.map_or("-".to_owned(), |after| format!("({}", id(after)));
        let arguments: Vec<Value> =
            vec![keys.dead.as_str().into(), from.into(), "+".into(), "COUNT".into(), (page as i64).into()];
        let entries = array(OPERATION, control.call(OPERATION, "XRANGE", Some(&keys.dead), arguments).await?)?;
        let complete = entries.len() < page;
        for entry in entries {
            letters.push(read_letter(entry, payload_field)?);
        }
        after = letters.last().map(|letter| letter.position.token);
        if complete {
            break;
        }
    }
    if letters.is_empty() {
        // None, or nothing of the kind.
        one_group(control, stream, group).await?;
    }
    Ok(letters)
}

fn read_letter(entry: Frame, payload_field: &Bytes) -> Result<DeadLetter> {
    let [position, fields] = elements(OPERATION, entry)?;
    let position = Position::new(PositionStyle::EntryId, UNIT, entry_id(OPERATION, position)?);
    let entry = Entry::decode(OPERATION, fields, payload_field)?;
    let note = |name| entry.note(name).unwrap_or_default().to_owned();
    Ok(DeadLetter {
        position,
        reason: note(REASON),
        attempts: entry.number(ATTEMPTS).and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(0),
        first_failed_ms: entry.number(FIRST_FAILED),
        last_failed_ms: entry.number(LAST_FAILED),
        origin: note(ORIGIN),
        message: entry.message,
    })
}

pub(crate) async fn redrive(
    control: &Connection,
    stream: &StreamName,
    group: &GroupName,
    position: Position,
) -> Result<Redrive> {
    one_group(control, stream, group).await?;
    let keys = Keys::new(stream, group);
    let from_to = [keys.dead.as_str(), &keys.retry];
    let sent =
        control.run(OPERATION, &REDRIVE, &from_to, || vec![keys.group.as_str().into(), id(position.token).into()]);
    match number(OPERATION, &sent.await?)? {
        1 => Ok(Redrive::Redriven),
        _ => Ok(Redrive::Gone),
    }
}

pub(crate) async fn purge(control: &Connection, stream: &StreamName, group: &GroupName) -> Result<u64> {
    let keys = Keys::new(stream, group);
    let arguments: Vec<Value> = vec![keys.dead.as_str().into(), "MAXLEN".into(), "0".into()];
    let purged = count(OPERATION, &control.call(OPERATION, "XTRIM", Some(&keys.dead), arguments).await?)?;
    if purged == 0 {
        one_group(control, stream, group).await?;
    }
    Ok(purged)
}

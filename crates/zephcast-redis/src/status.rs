//! A look at a group.

mod lag;
mod members;

use std::time::Duration;

use fred::types::Value;
use tokio::try_join;
use zephcast_core::{
    Broker, Error, ErrorKind, GroupName, GroupStatus, Position, PositionStyle, Result, StreamName, Token, UnitId,
    UnitStatus,
};

use self::members::Roster;
use crate::connection::Connection;
use crate::error::error;
use crate::intake::UNIT;
use crate::keys::Keys;
use crate::member::RETURNED;
use crate::reply::{Frame, array, bytes, count, map, parse_id, text};

const OPERATION: &str = "group status";

pub(crate) async fn group(control: &Connection, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
    let keys = &Keys::new(stream, group);
    let (on_stream, end) = try_join!(one_group(control, stream, group), last_id(control, stream))?;
    let by_group = [group.as_str()];
    let members = Roster::read(control, keys);
    let (unread, retried, delayed, dead, oldest, oldest_retried, now, members) = try_join!(
        lag::unread(control, keys, &on_stream, end),
        ask(control, "XLEN", &keys.retry, &[]),
        ask(control, "ZCARD", &keys.delayed, &[]),
        ask(control, "XLEN", &keys.dead, &[]),
        ask(control, "XPENDING", &keys.stream, &by_group),
        ask(control, "XPENDING", &keys.retry, &by_group),
        now_ms(control, keys),
        members,
    )?;
    let (retried, delayed) = (figure(retried)?, figure(delayed)?);
    let oldest_ms = [oldest_pending(oldest)?, oldest_pending(oldest_retried)?].into_iter().flatten().min();
    // What is settled is removed from the retry stream, so its length is what is unsettled there.
    let lag = unread.map(|unread| unread + on_stream.pending + retried + delayed);
    let held = members.pending_all().saturating_sub(members.pending_of(RETURNED));
    let show = |token| Position::new(PositionStyle::EntryId, UNIT, token).to_string();
    Ok(GroupStatus {
        stream: stream.clone(),
        group: group.clone(),
        broker: Broker::Redis,
        lag,
        in_flight: Some(held),
        oldest_pending: oldest_ms.map(|oldest| Duration::from_millis(now.saturating_sub(oldest))),
        delayed: Some(delayed),
        dead_letters: Some(figure(dead)?),
        members: members.judge(now),
        units: vec![UnitStatus {
            unit: UnitId(0),
            committed: Some(show(on_stream.last_delivered)),
            end: Some(show(end)),
            lag,
            owner: None,
        }],
    })
}

/// What `XINFO GROUPS` says of a group.
pub(crate) struct OnStream {
    pub(crate) name: String,
    pub(crate) pending: u64,
    pub(crate) last_delivered: Token,
    /// Unread entries; none where Redis cannot say.
    pub(crate) lag: Option<u64>,
}

/// Every group of a stream.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist.
pub(crate) async fn groups(
    control: &Connection,
    operation: &'static str,
    stream: &StreamName,
) -> Result<Vec<OnStream>> {
    let key = stream.as_str();
    let arguments = vec!["GROUPS".into(), key.into()];
    let answer = control.try_call(operation, "XINFO", Some(key), arguments).await?;
    let answer = answer.map_err(|failure| no_stream(operation, stream, failure))?;
    array(operation, answer)?.into_iter().map(|group| read_group(operation, group)).collect()
}

fn read_group(operation: &'static str, group: Frame) -> Result<OnStream> {
    let mut read = OnStream { name: String::new(), pending: 0, last_delivered: Token(0, 0), lag: None };
    for (name, value) in map(operation, group)? {
        match name.as_str() {
            "name" => read.name = text(operation, value)?,
            "pending" => read.pending = count(operation, &value)?,
            "last-delivered-id" => read.last_delivered = crate::reply::entry_id(operation, value)?,
            "lag" => read.lag = count(operation, &value).ok(),
            _ => {}
        }
    }
    Ok(read)
}

/// One group of a stream.
///
/// # Errors
/// `NotFound`, naming what does not exist.
pub(crate) async fn one_group(control: &Connection, stream: &StreamName, group: &GroupName) -> Result<OnStream> {
    let groups = groups(control, OPERATION, stream).await?;
    groups
        .into_iter()
        .find(|known| known.name == group.as_str())
        .ok_or_else(|| error(ErrorKind::NotFound, OPERATION, format!("the stream {stream:?} has no group {group:?}")))
}

async fn last_id(control: &Connection, stream: &StreamName) -> Result<Token> {
    let arguments = vec!["STREAM".into(), stream.as_str().into()];
    let answer = control.try_call(OPERATION, "XINFO", Some(stream.as_str()), arguments).await?;
    let facts = map(OPERATION, answer.map_err(|failure| no_stream(OPERATION, stream, failure))?)?;
    let last = facts.into_iter().find(|(name, _)| name == "last-generated-id");
    last.map_or(Ok(Token(0, 0)), |(_, id)| crate::reply::entry_id(OPERATION, id))
}

/// Makes "no such key" an error that names the stream.
pub(crate) fn no_stream(operation: &'static str, stream: &StreamName, failure: crate::error::Failure) -> Error {
    if failure.mentions("no such key") {
        return error(ErrorKind::NotFound, operation, format!("the stream {stream:?} does not exist"));
    }
    failure.into_error(operation)
}

/// Asks about a helper key, which may not exist yet; then there is no answer.
async fn ask(control: &Connection, command: &'static str, key: &str, arguments: &[&str]) -> Result<Option<Frame>> {
    let arguments: Vec<Value> = std::iter::once(&key).chain(arguments).map(|text| Value::from(*text)).collect();
    match control.try_call(OPERATION, command, Some(key), arguments).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.has_code("NOGROUP") || failure.mentions("no such key") => Ok(None),
        Err(failure) => Err(failure.into_error(OPERATION)),
    }
}

fn figure(answer: Option<Frame>) -> Result<u64> {
    answer.map_or(Ok(0), |answer| count(OPERATION, &answer))
}

/// When the oldest entry of a pending list was written.
fn oldest_pending(summary: Option<Frame>) -> Result<Option<u64>> {
    let Some(summary) = summary else { return Ok(None) };
    let lowest = array(OPERATION, summary)?.into_iter().nth(1);
    let lowest = lowest.and_then(|id| bytes(OPERATION, id).ok());
    Ok(lowest.and_then(|id| parse_id(&id)).map(|id| id.0))
}

async fn now_ms(control: &Connection, keys: &Keys) -> Result<u64> {
    let time = array(OPERATION, control.call(OPERATION, "TIME", Some(&keys.stream), Vec::new()).await?)?;
    let part = |n: usize| time.get(n).map_or(Ok(0), |part| count(OPERATION, part));
    Ok(part(0)? * 1_000 + part(1)? / 1_000)
}

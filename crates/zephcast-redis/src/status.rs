//! A look at a group.

mod lag;
mod members;

use std::time::{Duration, Instant};

use zephcast_core::{
    Broker, Error, ErrorKind, GroupName, GroupStatus, Position, PositionStyle, Result, StreamName, Token, UnitId,
    UnitStatus,
};

pub(crate) use self::members::FOREIGN_LEASE;
use self::members::Roster;
use crate::connection::Connection;
use crate::error::{error, missing};
use crate::intake::UNIT;
use crate::keys::Keys;
use crate::member::RETURNED;
use crate::reply::{Frame, array, bytes, count, elements, entry_id, map, number, parse_id, text};
use crate::scripts::STATUS;

const OPERATION: &str = "group status";

pub(crate) async fn group(control: &Connection, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
    let keys = &Keys::new(stream, group);
    let looked_at = Instant::now();
    let seen = Seen::read(control, stream, keys).await?;
    let members = Roster::read([seen.consumers, seen.retry_consumers], seen.reports)?;
    let on_stream = find_group(read_groups(OPERATION, seen.groups)?, stream, group)?;
    let oldest_ms = [oldest_pending(seen.pending)?, oldest_pending(seen.retry_pending)?].into_iter().flatten().min();
    // Last, as only this may take several looks at the server.
    let unread = lag::unread(control, keys, &on_stream, seen.end, seen.length).await?;
    // What is settled is removed from the retry stream, so its length is what is unsettled there.
    let lag = unread.map(|unread| unread + on_stream.pending + seen.retried + seen.delayed);
    let held = members.pending_all().saturating_sub(members.pending_of(RETURNED));
    let show = |token| Position::new(PositionStyle::EntryId, UNIT, token).to_string();
    Ok(GroupStatus {
        stream: stream.clone(),
        group: group.clone(),
        broker: Broker::Redis,
        looked_at,
        published: seen.published,
        lag,
        in_flight: Some(held),
        oldest_pending: oldest_ms.map(|oldest| Duration::from_millis(seen.now.saturating_sub(oldest))),
        delayed: Some(seen.delayed),
        dead_letters: Some(seen.dead),
        members: members.judge(seen.now),
        units: vec![UnitStatus {
            unit: UnitId(0),
            committed: Some(show(on_stream.last_delivered)),
            end: Some(show(seen.end)),
            lag,
            owner: None,
        }],
        warnings: Vec::new(),
    })
}

/// What the script `status` saw at one moment: what is on its way from one key to another is in one of them.
struct Seen {
    now: u64,
    end: Token,
    /// Entries that are there.
    length: u64,
    /// None before Redis 7.0.
    published: Option<u64>,
    groups: Frame,
    pending: Frame,
    retry_pending: Frame,
    retried: u64,
    delayed: u64,
    dead: u64,
    consumers: Frame,
    retry_consumers: Frame,
    reports: Frame,
}

impl Seen {
    async fn read(control: &Connection, stream: &StreamName, keys: &Keys) -> Result<Self> {
        let all = [keys.stream.as_str(), &keys.retry, &keys.delayed, &keys.dead, &keys.members];
        let answer = control.try_run(OPERATION, &STATUS, &all, || vec![keys.group.as_str().into()]).await?;
        let answer = answer.map_err(|failure| no_stream(OPERATION, stream, failure))?;
        let [now, stream_facts, groups, pendings, lengths, consumers, reports] = elements(OPERATION, answer)?;
        let [end, published, length] = elements(OPERATION, stream_facts)?;
        let [pending, retry_pending] = elements(OPERATION, pendings)?;
        let [retried, delayed, dead] = elements(OPERATION, lengths)?;
        let [consumers, retry_consumers] = elements(OPERATION, consumers)?;
        Ok(Self {
            now: count(OPERATION, &now)?,
            end: entry_id(OPERATION, end)?,
            length: count(OPERATION, &length)?,
            published: u64::try_from(number(OPERATION, &published)?).ok(),
            groups,
            pending,
            retry_pending,
            retried: count(OPERATION, &retried)?,
            delayed: count(OPERATION, &delayed)?,
            dead: count(OPERATION, &dead)?,
            consumers,
            retry_consumers,
            reports,
        })
    }
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
    read_groups(operation, answer.map_err(|failure| no_stream(operation, stream, failure))?)
}

fn read_groups(operation: &'static str, groups: Frame) -> Result<Vec<OnStream>> {
    array(operation, groups)?.into_iter().map(|group| read_group(operation, group)).collect()
}

fn read_group(operation: &'static str, group: Frame) -> Result<OnStream> {
    let mut read = OnStream { name: String::new(), pending: 0, last_delivered: Token(0, 0), lag: None };
    for (name, value) in map(operation, group)? {
        match name.as_str() {
            "name" => read.name = text(operation, value)?,
            "pending" => read.pending = count(operation, &value)?,
            "last-delivered-id" => read.last_delivered = entry_id(operation, value)?,
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
    find_group(groups(control, OPERATION, stream).await?, stream, group)
}

fn find_group(groups: Vec<OnStream>, stream: &StreamName, group: &GroupName) -> Result<OnStream> {
    let missing = || no_group(OPERATION, stream, group);
    groups.into_iter().find(|known| known.name == group.as_str()).ok_or_else(missing)
}

/// The stream has no such group.
pub(crate) fn no_group(operation: &'static str, stream: &StreamName, group: &GroupName) -> Error {
    error(ErrorKind::NotFound, operation, format!("the stream {stream:?} has no group {group:?}"))
}

/// The id of the newest entry that the stream ever had.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist.
pub(crate) async fn last_id(control: &Connection, operation: &'static str, stream: &StreamName) -> Result<Token> {
    // Brings two payloads with it; a script would not, but a user who may only read may not run one.
    let arguments = vec!["STREAM".into(), stream.as_str().into()];
    let answer = control.try_call(operation, "XINFO", Some(stream.as_str()), arguments).await?;
    let facts = map(operation, answer.map_err(|failure| no_stream(operation, stream, failure))?)?;
    let last = facts.into_iter().find(|(name, _)| name == "last-generated-id");
    last.map_or(Ok(Token(0, 0)), |(_, id)| entry_id(operation, id))
}

/// Makes "no such key" an error that names the stream.
pub(crate) fn no_stream(operation: &'static str, stream: &StreamName, failure: crate::error::CallFailure) -> Error {
    if failure.mentions("no such key") {
        return missing(operation, stream.as_str());
    }
    failure.into_error(operation)
}

/// When the oldest entry of a pending list was written, by its summary; there is none without the group.
fn oldest_pending(summary: Frame) -> Result<Option<u64>> {
    let lowest = array(OPERATION, summary)?.into_iter().nth(1);
    let lowest = lowest.and_then(|id| bytes(OPERATION, id).ok());
    Ok(lowest.and_then(|id| parse_id(&id)).map(|id| id.0))
}

//! Looking at a stream without a group.

use std::collections::BTreeMap;

use zephcast_core::driver::{Browsed, Cursor, Stored};
use zephcast_core::{Position, PositionStyle, Result, Start, StreamName, Token, UnitId};

use crate::cluster::Cluster;
use crate::cluster::offsets::partitions_of;
use crate::error::{invalid, missing};
use crate::native::OffsetOf;
use crate::read::{Record, Span, records};
use crate::record;
use crate::start::places;

const OPERATION: &str = "browse";

/// At most `limit` messages from the cursor on.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist; `InvalidInput` for a place that it cannot have.
pub(crate) async fn look(cluster: &Cluster, stream: &StreamName, from: &Cursor, limit: usize) -> Result<Browsed> {
    let topic = stream.as_str();
    let count = cluster.partitions(OPERATION, topic).await?.ok_or_else(|| missing(OPERATION, topic))?;
    let partitions: Vec<_> = partitions_of(topic, count).collect();
    let begins = cluster.offsets(OPERATION, &partitions, OffsetOf::Begin).await?;
    let from = first(cluster, topic, count, from).await?;
    let ends = cluster.offsets(OPERATION, &partitions, OffsetOf::CommittedEnd).await?;
    if ends.len() < partitions.len() {
        // It was deleted meanwhile.
        return Err(missing(OPERATION, topic));
    }
    let span = |partition: i32| {
        let key = (topic.to_owned(), partition);
        let begin = begins.get(&key).copied().unwrap_or(0);
        let from = from.get(&partition).copied().unwrap_or(0).max(begin);
        Span { from, end: ends.get(&key).copied().unwrap_or(0) }
    };
    let spans: BTreeMap<_, _> = partitions.iter().map(|(_, partition)| (*partition, span(*partition))).collect();
    let found = records(cluster, OPERATION, topic, spans, limit).await?;
    let next = found.next.into_iter().map(|(partition, offset)| (unit(partition), token(offset)));
    Ok(Browsed { messages: found.records.into_iter().map(stored).collect(), next: Cursor::Units(next.collect()) })
}

/// Where each partition is looked at first. One that is not named is new, and is shown from its beginning.
async fn first(cluster: &Cluster, topic: &str, count: u32, from: &Cursor) -> Result<BTreeMap<i32, i64>> {
    let units = match from {
        Cursor::Start(Start::Earliest) => return Ok(BTreeMap::new()),
        Cursor::Start(start) => return places(cluster, OPERATION, topic, count, *start).await,
        Cursor::Units(units) => units,
    };
    if let Some(unit) = units.keys().find(|unit| unit.0 >= count) {
        return Err(invalid(OPERATION, format!("the stream {topic:?} has no unit {unit}")));
    }
    let offset = |token: &Token| i64::try_from(token.0).unwrap_or(i64::MAX);
    Ok(units.iter().map(|(unit, token)| (unit.0.cast_signed(), offset(token))).collect())
}

fn stored(record: Record) -> Stored {
    let position = position(record.partition, record.offset);
    let published_ms = record.published_ms;
    let (message, _) = record::decode(record.payload, record.key, &record.headers);
    Stored { position, message, published_ms }
}

/// The position of a record of the stream.
pub(crate) fn position(partition: i32, offset: i64) -> Position {
    Position::new(PositionStyle::UnitOffset, unit(partition), token(offset))
}

fn unit(partition: i32) -> UnitId {
    UnitId(partition.cast_unsigned())
}

fn token(offset: i64) -> Token {
    Token(offset.cast_unsigned(), 0)
}

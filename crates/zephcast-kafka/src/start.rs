//! Where a group begins.

use std::collections::{BTreeMap, HashMap};

use zephcast_core::{ErrorKind, GroupName, Position, PositionStyle, Result, Start, StreamName, Token};

use crate::cluster::Cluster;
use crate::cluster::groups::has_members;
use crate::cluster::offsets::partitions_of;
use crate::error::{code_of, error, invalid, missing};
use crate::native::{Committed, OffsetOf, Partition};
use crate::place::{METADATA_BYTES, Place};
use crate::read::{Span, records};
use crate::streams::has_member_for;

const OPERATION: &str = "start a group";

/// Makes a group and its start exist: where it is nowhere yet in the stream, it is at its start when this returns. A group
/// that is somewhere in the stream stays, and gets partitions that are new to it from their beginning.
///
/// Only a member can commit for a group that has members; then the answer is what the member has to commit. It is empty
/// when there is nothing to do.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist; `InvalidInput` for a start that the stream cannot have.
pub(crate) async fn anchor(
    cluster: &Cluster,
    stream: &StreamName,
    group: &GroupName,
    start: Start,
) -> Result<HashMap<i32, Place>> {
    let (topic, id) = (stream.as_str(), cluster.config().group_id(stream, group));
    let described = cluster.describe(OPERATION, topic).await?.ok_or_else(|| missing(OPERATION, topic))?;
    let partitions = described.partitions;
    let _one_at_a_time = cluster.anchoring.lock().await;
    let committed = cluster.committed_surely(OPERATION, &id, topic).await?;
    let mut known =
        committed.into_iter().map(|place| place.partition).filter(|partition| partition.0 == topic).peekable();
    let start = if known.peek().is_some() { Start::Earliest } else { start };
    let known: Vec<Partition> = known.collect();
    if partitions_of(topic, partitions).all(|partition| known.contains(&partition)) {
        return Ok(HashMap::new());
    }
    let mut places = places(cluster, OPERATION, topic, partitions, start).await?;
    places.retain(|partition, _| !known.contains(&(topic.to_owned(), *partition)));
    let commits: Vec<_> =
        places.iter().map(|(partition, offset)| commit_of(topic, *partition, &described.place(*offset))).collect();
    match cluster.commit(OPERATION, &id, &commits).await {
        Ok(()) => Ok(HashMap::new()),
        Err(error) if code_of(&error).is_some_and(has_members) => {
            Ok(places.into_iter().map(|(partition, offset)| (partition, described.place(offset))).collect())
        }
        Err(error) => Err(error),
    }
}

/// Makes a group at its start. One that exists stays.
///
/// # Errors
/// As [`anchor`]; `Conflict` when it has members for other streams only, since then nobody else can commit for it.
pub(crate) async fn create(cluster: &Cluster, stream: &StreamName, group: &GroupName, start: Start) -> Result<()> {
    let is_begun = anchor(cluster, stream, group, start).await?.is_empty();
    if is_begun
        || has_member_for(
            &cluster.describe_group(OPERATION, &cluster.config().group_id(stream, group)).await?,
            stream.as_str(),
        )
    {
        return Ok(());
    }
    let text = format!(
        "the group {group:?} has members for other streams, and only they can commit for it; start a member for \
         {stream:?}, or create the group while there is none"
    );
    Err(error(ErrorKind::Conflict, OPERATION, text))
}

/// What to commit so that a group is at this place.
pub(crate) fn commit_of(topic: &str, partition: i32, place: &Place) -> Committed {
    Committed { partition: (topic.to_owned(), partition), offset: place.next, metadata: place.write(METADATA_BYTES) }
}

/// Where each partition begins for this start. A position names one partition; the others begin at their first record that
/// is not older than the one there, so that nothing after it is passed over. Where that one is gone, all begin at the
/// earliest; at the end of its partition, at every end.
///
/// # Errors
/// `InvalidInput` when the stream cannot have the start.
pub(crate) async fn places(
    cluster: &Cluster,
    operation: &'static str,
    topic: &str,
    partitions: u32,
    start: Start,
) -> Result<BTreeMap<i32, i64>> {
    let of = |start| async move {
        match start {
            Start::Latest => offsets(cluster, operation, topic, partitions, OffsetOf::End).await,
            Start::Time(ms) => first_at(cluster, operation, topic, partitions, ms).await,
            _ => offsets(cluster, operation, topic, partitions, OffsetOf::Begin).await,
        }
    };
    let Start::Position(position) = start else { return of(start).await };
    let begins = of(Start::Earliest).await?;
    let ends = of(Start::Latest).await?;
    let (partition, offset) = checked(operation, topic, &ends, position)?;
    let begin = begins.get(&partition).copied().unwrap_or(0);
    let end = ends.get(&partition).copied().unwrap_or(0);
    let span = BTreeMap::from([(partition, Span { from: offset, end })]);
    let mut places = match offset < begin {
        true => begins,
        false => match records(cluster, operation, topic, span, 1).await?.records.pop() {
            Some(record) => of(Start::Time(record.published_ms.unwrap_or(0))).await?,
            None => ends,
        },
    };
    places.insert(partition, offset.max(begin));
    Ok(places)
}

/// Partition and offset of a position in the stream.
fn checked(operation: &'static str, topic: &str, ends: &BTreeMap<i32, i64>, at: Position) -> Result<(i32, i64)> {
    let found = i32::try_from(at.unit.0).ok().zip(i64::try_from(at.token.0).ok()).filter(|(partition, offset)| {
        at == Position::new(PositionStyle::UnitOffset, at.unit, Token(at.token.0, 0))
            && ends.get(partition).is_some_and(|end| offset <= end)
    });
    found.ok_or_else(|| invalid(operation, format!("the stream {topic:?} cannot have the position {at}")))
}

/// The first record at or after this time, or the end.
async fn first_at(
    cluster: &Cluster,
    operation: &'static str,
    topic: &str,
    partitions: u32,
    ms: u64,
) -> Result<BTreeMap<i32, i64>> {
    let time = OffsetOf::Time(i64::try_from(ms).unwrap_or(i64::MAX));
    // First the ends: what is published in between is after both.
    let ends = offsets(cluster, operation, topic, partitions, OffsetOf::End).await?;
    let mut places = offsets(cluster, operation, topic, partitions, time).await?;
    for (partition, place) in &mut places {
        if *place < 0 {
            *place = ends.get(partition).copied().unwrap_or(0);
        }
    }
    Ok(places)
}

async fn offsets(
    cluster: &Cluster,
    operation: &'static str,
    topic: &str,
    partitions: u32,
    of: OffsetOf,
) -> Result<BTreeMap<i32, i64>> {
    let partitions: Vec<_> = partitions_of(topic, partitions).collect();
    let offsets = cluster.offsets(operation, &partitions, of).await?;
    if offsets.len() < partitions.len() {
        // It was deleted meanwhile.
        return Err(missing(operation, topic));
    }
    Ok(offsets.into_iter().map(|((_, partition), offset)| (partition, offset)).collect())
}

//! What a group gave up: looking, sending back, forgetting.
//!
//! The dead letters are a topic, and single records cannot be taken out of one. What was removed is therefore written down
//! as what a group of the topic's own name has settled; the topic is trimmed as far as that goes without a gap.

use std::collections::BTreeMap;

use zephcast_core::driver::{DeadLetter, Redrive};
use zephcast_core::{ErrorKind, GroupName, Position, PositionStyle, Result, StreamName, Token, UnitId};

use crate::browse::position;
use crate::cluster::Cluster;
use crate::cluster::groups::has_members;
use crate::cluster::offsets::partitions_of;
use crate::error::{code_of, error};
use crate::native::{OffsetOf, Partition};
use crate::place::{METADATA_BYTES, Place};
use crate::producer::Producer;
use crate::read::{Record, Span, records};
use crate::record::{self, Notes, Outgoing};
use crate::start::commit_of;
use crate::status::{ensure_exists, removed};
use crate::topics::{Delay, Topics};

const OPERATION: &str = "dead letters";

pub(crate) async fn list(
    cluster: &Cluster,
    stream: &StreamName,
    group: &GroupName,
    after: Option<Position>,
    limit: usize,
) -> Result<Vec<DeadLetter>> {
    let topics = cluster.topics_of(stream, group);
    let mut letters = Vec::new();
    for (partition, letterbox) in Letterbox::all(cluster, &topics).await? {
        let first = match after.map(|after| (after.unit.0.cast_signed(), after.token.0)) {
            Some((unit, _)) if partition < unit => continue,
            Some((unit, token)) if partition == unit => i64::try_from(token).unwrap_or(i64::MAX).saturating_add(1),
            _ => 0,
        };
        let mut span = Span { from: letterbox.first().max(first), end: letterbox.end };
        while letters.len() < limit && span.from < span.end {
            let spans = BTreeMap::from([(partition, span)]);
            let found = records(cluster, OPERATION, &topics.dead, spans, limit - letters.len()).await?;
            span.from = found.next.get(&partition).copied().unwrap_or(span.end);
            letters.extend(found.records.into_iter().filter(|record| letterbox.has(record.offset)).map(letter));
        }
    }
    if letters.is_empty() {
        // None, or nothing of the kind.
        ensure_exists(cluster, OPERATION, &topics).await?;
    }
    Ok(letters)
}

fn letter(record: Record) -> DeadLetter {
    let position = position(record.partition, record.offset);
    let (message, notes) = record::decode(record.payload, record.key, &record.headers);
    DeadLetter {
        position,
        message,
        reason: notes.reason.unwrap_or_default(),
        attempts: notes.attempts,
        first_failed_ms: notes.first_failed_ms,
        last_failed_ms: notes.last_failed_ms,
        origin: notes.origin_text.unwrap_or_default(),
    }
}

/// A partition of the dead letters.
struct Letterbox {
    begin: i64,
    end: i64,
    removed: Place,
}

impl Letterbox {
    /// Each partition's; none where the group never gave anything up.
    async fn all(cluster: &Cluster, topics: &Topics) -> Result<BTreeMap<i32, Self>> {
        let Some(count) = cluster.partitions(OPERATION, &topics.dead).await? else { return Ok(BTreeMap::new()) };
        let partitions: Vec<Partition> = partitions_of(&topics.dead, count).collect();
        let (mut removed, begins, ends) = tokio::try_join!(
            removed(cluster, OPERATION, topics),
            cluster.offsets(OPERATION, &partitions, OffsetOf::Begin),
            cluster.offsets(OPERATION, &partitions, OffsetOf::CommittedEnd),
        )?;
        let letterbox = |(partition, end): (Partition, i64)| {
            let begin = begins.get(&partition).copied().unwrap_or(0);
            let removed = removed.remove(&partition.1).unwrap_or_else(|| Place::at(begin));
            (partition.1, Self { begin, end, removed })
        };
        Ok(ends.into_iter().map(letterbox).collect())
    }

    /// The first offset where a dead letter can be.
    fn first(&self) -> i64 {
        self.begin.max(self.removed.next)
    }

    /// Whether a dead letter can be there.
    fn has(&self, offset: i64) -> bool {
        (self.first()..self.end).contains(&offset) && !self.removed.done.contains(offset)
    }

    /// What is removed when this one is, too.
    ///
    /// # Errors
    /// `Conflict` when that cannot be written down.
    fn without(&self, offset: i64) -> Result<Place> {
        let mut place = Place { next: self.first(), done: self.removed.done.clone(), ..Place::default() };
        place.done.insert(offset);
        place.next = place.done.pass(place.next);
        match Place::read(place.next, &place.write(METADATA_BYTES)) == place {
            true => Ok(place),
            false => {
                let text =
                    "too many were redriven with others left between them; redrive or purge the oldest ones first";
                Err(error(ErrorKind::Conflict, OPERATION, text))
            }
        }
    }
}

pub(crate) async fn redrive(
    cluster: &Cluster,
    producer: &Producer,
    stream: &StreamName,
    group: &GroupName,
    at: Position,
) -> Result<Redrive> {
    let topics = cluster.topics_of(stream, group);
    ensure_exists(cluster, OPERATION, &topics).await?;
    let _one_at_a_time = cluster.removing.lock().await;
    let (partition, offset) = (at.unit.0.cast_signed(), i64::try_from(at.token.0).unwrap_or(i64::MAX));
    let mut letterboxes = Letterbox::all(cluster, &topics).await?;
    let Some(letterbox) = letterboxes.remove(&partition).filter(|letterbox| letterbox.has(offset)) else {
        return Ok(Redrive::Gone);
    };
    let place = letterbox.without(offset)?;
    let span = BTreeMap::from([(partition, Span { from: offset, end: offset + 1 })]);
    let found = records(cluster, OPERATION, &topics.dead, span, 1).await?;
    let Some(record) = found.records.into_iter().find(|record| record.offset == offset) else {
        return Ok(Redrive::Gone);
    };
    send_back(cluster, producer, &topics, record).await?;
    // Only now that it is with its group again: rather twice than never.
    let begins = BTreeMap::from([(partition, letterbox.begin)]);
    forget(cluster, &topics, BTreeMap::from([(partition, place)]), &begins).await?;
    Ok(Redrive::Redriven)
}

/// Publishes a dead letter for its group alone, as it came there first.
async fn send_back(cluster: &Cluster, producer: &Producer, topics: &Topics, record: Record) -> Result<()> {
    let (message, notes) = record::decode(record.payload, record.key, &record.headers);
    let origin = notes.origin.or_else(|| notes.origin_text.as_deref().and_then(origin));
    let retry = topics.retry(Delay::NOW);
    let partitions = cluster.partitions(OPERATION, &topics.stream).await?.unwrap_or(1);
    let count = cluster.ensure_helper(OPERATION, retry, partitions).await?;
    let partition = origin.map(|(unit, _)| unit).filter(|unit| unit.0 < count);
    let outgoing = Outgoing::new(&message, &Notes { origin, published_ms: notes.published_ms, ..Notes::default() })?;
    producer.store(retry, partition.map(|unit| unit.0.cast_signed()), outgoing).await?;
    Ok(())
}

/// Reads `STREAM@UNIT:OFFSET`.
fn origin(text: &str) -> Option<(UnitId, Token)> {
    let (_, position) = text.rsplit_once('@')?;
    let position = Position::parse(PositionStyle::UnitOffset, position).ok()?;
    Some((position.unit, position.token))
}

/// Writes down what is removed, and trims what lies before everything else.
async fn forget(
    cluster: &Cluster,
    topics: &Topics,
    places: BTreeMap<i32, Place>,
    begins: &BTreeMap<i32, i64>,
) -> Result<()> {
    let commits: Vec<_> = places.iter().map(|(partition, place)| commit_of(&topics.dead, *partition, place)).collect();
    cluster.commit(OPERATION, &topics.dead, &commits).await.map_err(|refusal| {
        match code_of(&refusal).is_some_and(has_members) {
            true => {
                let text =
                    format!("somebody consumes as the group {:?}, which remembers what was removed", topics.dead);
                error(ErrorKind::Conflict, OPERATION, text).caused_by(refusal)
            }
            false => refusal,
        }
    })?;
    let before: BTreeMap<Partition, i64> = places
        .into_iter()
        .filter(|(partition, place)| begins.get(partition).is_some_and(|begin| place.next > *begin))
        .map(|(partition, place)| ((topics.dead.clone(), partition), place.next))
        .collect();
    cluster.delete_records(OPERATION, &before).await.map(drop)
}

pub(crate) async fn purge(cluster: &Cluster, stream: &StreamName, group: &GroupName) -> Result<u64> {
    let topics = cluster.topics_of(stream, group);
    let _one_at_a_time = cluster.removing.lock().await;
    let letterboxes = Letterbox::all(cluster, &topics).await?;
    let count = |letterbox: &Letterbox| letterbox.removed.unsettled(letterbox.begin, letterbox.end);
    let purged = letterboxes.values().map(count).sum();
    if purged == 0 {
        ensure_exists(cluster, OPERATION, &topics).await?;
    }
    let begins = letterboxes.iter().map(|(partition, letterbox)| (*partition, letterbox.begin)).collect();
    let ends = letterboxes.into_iter().map(|(partition, letterbox)| (partition, Place::at(letterbox.end)));
    forget(cluster, &topics, ends.collect(), &begins).await?;
    Ok(purged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letterbox(begin: i64, end: i64) -> Letterbox {
        Letterbox { begin, end, removed: Place::at(begin) }
    }

    #[test]
    fn what_is_removed_moves_the_frontier_when_nothing_is_left_before_it() {
        let mut letterbox = letterbox(3, 10);
        letterbox.removed = letterbox.without(4).unwrap();
        assert_eq!(letterbox.removed.next, 3);
        assert_eq!((0..12).filter(|offset| letterbox.has(*offset)).collect::<Vec<_>>(), [3, 5, 6, 7, 8, 9]);
        letterbox.removed = letterbox.without(3).unwrap();
        assert_eq!(letterbox.removed.next, 5);
        assert_eq!(letterbox.first(), 5);
    }

    #[test]
    fn what_cannot_be_written_down_is_refused() {
        let mut letterbox = letterbox(0, 100_000);
        (0..30_000).for_each(|pair| letterbox.removed.done.insert(3 * pair + 1));
        assert_eq!(letterbox.without(0).unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[test]
    fn an_origin_is_read() {
        assert_eq!(origin("a@b@2:41"), Some((UnitId(2), Token(41, 0))));
        assert_eq!(origin("orders"), None);
    }
}

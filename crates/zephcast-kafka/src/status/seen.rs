//! What the broker knows of a group, seen in an order in which nothing is overlooked.

use std::collections::BTreeMap;

use zephcast_core::{ErrorKind, Result};

use super::OPERATION;
use crate::cluster::Cluster;
use crate::cluster::offsets::partitions_of;
use crate::error::{error, missing};
use crate::native::{Committed, GroupDescription, OffsetOf, Partition, TopicDescription};
use crate::place::Place;
use crate::streams::has_member_for;
use crate::topics::Topics;

/// Where a group stands in a partition.
pub(super) struct Standing {
    /// None where it never committed anything.
    pub(super) place: Option<Place>,
    /// Whether one of our members committed it.
    pub(super) is_ours: bool,
    pub(super) begin: i64,
    pub(super) end: i64,
}

impl Standing {
    /// What was never committed is not settled.
    pub(super) fn unsettled(&self) -> u64 {
        match &self.place {
            Some(place) => place.unsettled(self.begin, self.end),
            None => Place::at(self.begin).unsettled(self.begin, self.end),
        }
    }
}

/// What the broker knows of a group.
pub(super) struct Seen {
    pub(super) description: GroupDescription,
    /// How many partitions the stream has.
    pub(super) partitions: u32,
    /// In each partition of the stream and of the group's retry topics.
    pub(super) standings: BTreeMap<Partition, Standing>,
    /// Whether all of them have a leader who said where they begin and end.
    pub(super) is_complete: bool,
    /// How many dead letters there are, if that can be known.
    pub(super) dead: Option<u64>,
}

impl Seen {
    /// First how far the group is, then where the partitions end: what is on its way from one topic to another is then
    /// seen twice rather than not at all.
    pub(super) async fn read(cluster: &Cluster, topics: &Topics) -> Result<Self> {
        let existing = cluster.described(OPERATION, &topics.all()).await?;
        let stream = existing.get(&topics.stream).ok_or_else(|| missing(OPERATION, &topics.stream))?;
        let (committed, description) = tokio::try_join!(
            cluster.committed_surely(OPERATION, &topics.group, &topics.stream),
            cluster.describe_group(OPERATION, &topics.group),
        )?;
        check_exists(OPERATION, topics, &committed, &description)?;
        let dead = match existing.get(&topics.dead) {
            Some(known) if !known.is_led() => None,
            Some(known) => unsettled_dead(cluster, OPERATION, topics, known.partitions).await?,
            None => Some(0),
        };
        let consumed: Vec<Partition> = existing
            .iter()
            .filter(|(topic, _)| **topic != topics.dead)
            .flat_map(|(topic, known)| known.led(topic))
            .collect();
        let (begins, ends) = tokio::try_join!(
            cluster.offsets_seen(OPERATION, &consumed, OffsetOf::Begin),
            cluster.offsets_seen(OPERATION, &consumed, OffsetOf::End),
        )?;
        if stream.led(&topics.stream).any(|partition| !ends.contains_key(&partition)) {
            // It was deleted meanwhile.
            return Err(missing(OPERATION, &topics.stream));
        }
        let is_known = |offset: &Option<i64>| offset.is_some();
        let is_complete = existing.values().all(TopicDescription::is_led)
            && begins.values().all(is_known)
            && ends.values().all(is_known);
        let mut committed: BTreeMap<_, _> =
            committed.into_iter().map(|place| (place.partition.clone(), place)).collect();
        let standing = |(partition, end): (Partition, Option<i64>)| {
            let (begin, end) = begins.get(&partition).copied().flatten().zip(end)?;
            let known = committed.remove(&partition);
            let is_ours = known.as_ref().is_some_and(|known| Place::is_ours(&known.metadata));
            let place = known.map(|known| match Place::read(known.offset, &known.metadata) {
                // In a topic that was made anew nothing is settled.
                place if partition.0 == topics.stream && place.is_of_another(stream.id) => Place::at(begin),
                place => place,
            });
            Some((partition, Standing { place, is_ours, begin, end }))
        };
        let standings = ends.into_iter().filter_map(standing).collect();
        Ok(Self { description, partitions: stream.partitions, is_complete, standings, dead })
    }

    /// Everything in these topics that is not settled.
    pub(super) fn unsettled(&self, is_meant: impl Fn(&str) -> bool) -> u64 {
        self.standings.iter().filter(|((topic, _), _)| is_meant(topic)).map(|(_, standing)| standing.unsettled()).sum()
    }

    pub(super) fn published(&self, stream: &str) -> u64 {
        let of_stream = self.standings.iter().filter(|((topic, _), _)| topic == stream);
        of_stream.map(|(_, standing)| standing.end.max(0).cast_unsigned()).sum()
    }
}

/// That stream and group exist.
///
/// # Errors
/// `NotFound`, naming what does not.
pub(crate) async fn ensure_exists(cluster: &Cluster, operation: &'static str, topics: &Topics) -> Result<()> {
    if cluster.partitions(operation, &topics.stream).await?.is_none() {
        return Err(missing(operation, &topics.stream));
    }
    let (committed, description) = tokio::try_join!(
        cluster.committed_surely(operation, &topics.group, &topics.stream),
        cluster.describe_group(operation, &topics.group),
    )?;
    check_exists(operation, topics, &committed, &description)
}

/// A group of the stream committed something in it or has a member for it; one that never committed anything anywhere, and
/// whose members still agree on who has what, may be one.
pub(crate) fn check_exists(
    operation: &'static str,
    topics: &Topics,
    committed: &[Committed],
    group: &GroupDescription,
) -> Result<()> {
    let is_here = committed.iter().any(|place| place.partition.0 == topics.stream)
        || has_member_for(group, &topics.stream)
        || (committed.is_empty() && group.rebalances && !group.members.is_empty());
    match is_here {
        true => Ok(()),
        false => {
            let text = format!("the stream {:?} has no group {:?}", topics.stream, topics.group);
            Err(error(ErrorKind::NotFound, operation, text))
        }
    }
}

/// What was removed from among the dead letters, by partition: the settled ones of a group that is named like their topic.
pub(crate) async fn removed(
    cluster: &Cluster,
    operation: &'static str,
    topics: &Topics,
) -> Result<BTreeMap<i32, Place>> {
    let committed = cluster.committed(operation, &topics.dead).await?;
    let of_topic = committed.into_iter().filter(|place| place.partition.0 == topics.dead);
    Ok(of_topic.map(|place| (place.partition.1, Place::read(place.offset, &place.metadata))).collect())
}

/// How many dead letters there are in a topic of so many partitions; none if a leader does not say.
async fn unsettled_dead(
    cluster: &Cluster,
    operation: &'static str,
    topics: &Topics,
    count: u32,
) -> Result<Option<u64>> {
    let partitions: Vec<Partition> = partitions_of(&topics.dead, count).collect();
    let (removed, begins, ends) = tokio::try_join!(
        removed(cluster, operation, topics),
        cluster.offsets_seen(operation, &partitions, OffsetOf::Begin),
        cluster.offsets_seen(operation, &partitions, OffsetOf::End),
    )?;
    let left = ends.iter().map(|(partition, end)| {
        let (begin, end) = begins.get(partition).copied().flatten().zip(*end)?;
        Some(removed.get(&partition.1).unwrap_or(&Place::at(begin)).unsettled(begin, end))
    });
    Ok(left.sum())
}

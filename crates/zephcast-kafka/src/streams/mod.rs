//! Streams: making them, and which there are.

mod create;

use std::collections::{BTreeMap, BTreeSet};

use zephcast_core::{Broker, Result, StreamName, StreamStatus, UnitId};

pub(crate) use self::create::create;
use crate::cluster::Cluster;
use crate::error::missing;
use crate::native::{Committed, GroupDescription, OffsetOf, Partition, TopicDescription};
use crate::topics::is_helper;

/// Every stream, by name.
pub(crate) async fn list(cluster: &Cluster) -> Result<Vec<StreamStatus>> {
    const OPERATION: &str = "list streams";
    let topics = cluster.topics(OPERATION).await?;
    let is_stream = |name: &str| topics.contains_key(name);
    let streams: BTreeMap<_, _> = topics
        .iter()
        .filter(|(topic, _)| !is_helper(topic, is_stream))
        .filter_map(|(topic, known)| Some((StreamName::new(topic).ok()?, known.clone())))
        .collect();
    statuses(cluster, OPERATION, &streams).await
}

/// One stream.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist.
pub(crate) async fn show(cluster: &Cluster, stream: &StreamName) -> Result<StreamStatus> {
    const OPERATION: &str = "show a stream";
    let missing = || missing(OPERATION, stream.as_str());
    let known = cluster.describe(OPERATION, stream.as_str()).await?.ok_or_else(missing)?;
    let streams = BTreeMap::from([(stream.clone(), known)]);
    statuses(cluster, OPERATION, &streams).await?.pop().ok_or_else(missing)
}

async fn statuses(
    cluster: &Cluster,
    operation: &'static str,
    streams: &BTreeMap<StreamName, TopicDescription>,
) -> Result<Vec<StreamStatus>> {
    let groups = Groups::read(cluster, operation).await?;
    let partitions: Vec<Partition> = streams.iter().flat_map(|(stream, known)| known.led(stream.as_str())).collect();
    let begins = cluster.offsets_seen(operation, &partitions, OffsetOf::Begin).await?;
    let ends = cluster.offsets_seen(operation, &partitions, OffsetOf::End).await?;
    let held = |partition: Partition| {
        let held = ends.get(&partition).copied().flatten()? - begins.get(&partition).copied().flatten()?;
        Some(held.max(0).cast_unsigned())
    };
    let status = |(stream, known): (&StreamName, &TopicDescription)| {
        // The leaders are the first to know that a topic is gone.
        let is_gone = known.led(stream.as_str()).any(|partition| !ends.contains_key(&partition));
        if is_gone {
            return None;
        }
        let depth: Option<u64> = known.led(stream.as_str()).map(held).sum();
        Some(StreamStatus {
            stream: stream.clone(),
            broker: Broker::Kafka,
            depth: depth.filter(|_| known.is_led()),
            units: (0..known.partitions).map(UnitId).collect(),
            groups: Some(groups.of(stream.as_str()).filter_map(|id| cluster.config().group_of(stream, id)).collect()),
        })
    };
    Ok(streams.iter().filter_map(status).collect())
}

/// All groups, and the topics that each has to do with.
pub(crate) struct Groups {
    pub(crate) committed: Vec<(String, Vec<Committed>)>,
    pub(crate) described: Vec<GroupDescription>,
}

impl Groups {
    pub(crate) async fn read(cluster: &Cluster, operation: &'static str) -> Result<Self> {
        let committed = cluster.committed_by_all(operation).await?;
        let names: Vec<String> = committed.iter().map(|(group, _)| group.clone()).collect();
        let described = cluster.describe_groups(operation, &names).await?;
        Ok(Self { committed, described })
    }

    /// Those that committed something in a topic, or have a member for it.
    pub(crate) fn of(&self, topic: &str) -> impl Iterator<Item = &str> {
        let by_place =
            self.committed.iter().filter(|(_, places)| places.iter().any(|place| place.partition.0 == topic));
        let by_member = self.described.iter().filter(|group| has_member_for(group, topic));
        let names = by_place.map(|(group, _)| group.as_str()).chain(by_member.map(|group| group.name.as_str()));
        names.collect::<BTreeSet<_>>().into_iter()
    }
}

/// Whether a member of the group has a partition of the topic.
pub(crate) fn has_member_for(group: &GroupDescription, topic: &str) -> bool {
    group.members.iter().any(|member| member.partitions.iter().any(|(known, _)| known == topic))
}

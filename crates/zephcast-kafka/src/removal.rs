//! Taking things away: what no group needs, and whole streams.

use std::collections::{BTreeMap, BTreeSet};

use zephcast_core::{Error, ErrorKind, Result, StreamName};

use crate::cluster::Cluster;
use crate::cluster::groups::unless_in_use;
use crate::cluster::offsets::partitions_of;
use crate::error::{code_of, error, missing};
use crate::native::{OffsetOf, Partition};
use crate::streams::Groups;
use crate::topics::is_helper;

/// Removes from the head of the stream what every group has settled; returns how many records.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist; `Unsupported` where it keeps the newest record of each key;
/// `PermissionDenied` when the user may not see every group.
pub(crate) async fn trim(cluster: &Cluster, stream: &StreamName) -> Result<u64> {
    const OPERATION: &str = "trim";
    let topic = stream.as_str();
    let count = cluster.partitions(OPERATION, topic).await?.ok_or_else(|| missing(OPERATION, topic))?;
    let partitions: Vec<Partition> = partitions_of(topic, count).collect();
    let begins = cluster.offsets(OPERATION, &partitions, OffsetOf::Begin).await?;
    let ends = cluster.offsets(OPERATION, &partitions, OffsetOf::End).await?;
    if ends.len() < partitions.len() {
        // It was deleted meanwhile.
        return Err(missing(OPERATION, topic));
    }
    // Groups that the user may not see are not listed, and may need everything.
    if cluster.describe_cluster(OPERATION).await?.may_see_groups == Some(false) {
        let text = "allow the user to `Describe` the cluster: a group that it may not see may need what is trimmed";
        return Err(error(ErrorKind::PermissionDenied, OPERATION, text));
    }
    let groups = Groups::read(cluster, OPERATION).await?;
    let needed = needed(&groups, topic, &ends);
    let before: BTreeMap<Partition, i64> = needed
        .into_iter()
        .filter(|(partition, needed)| begins.get(partition).is_some_and(|begin| needed > begin))
        .collect();
    let trimmed =
        cluster.delete_records(OPERATION, &before).await.map_err(|refusal| unsupported(OPERATION, refusal))?;
    let removed = |(partition, begin): (&Partition, &i64)| {
        let before = begins.get(partition).copied().unwrap_or(*begin);
        u64::try_from(begin - before).unwrap_or(0)
    };
    Ok(trimmed.iter().map(removed).sum())
}

/// The lowest offset of each partition that some group needs, and no more than the end. A group needs everything where it
/// never committed anything; without any group nothing can be said, as for a stream all of whose groups are to come.
fn needed(groups: &Groups, topic: &str, ends: &BTreeMap<Partition, i64>) -> BTreeMap<Partition, i64> {
    let names: BTreeSet<&str> = groups.of(topic).collect();
    if names.is_empty() {
        return BTreeMap::new();
    }
    let place = |group: &str, partition: &Partition| {
        let places = groups.committed.iter().find(|(name, _)| name == group).map(|(_, places)| places);
        places.into_iter().flatten().find(|place| place.partition == *partition).map_or(0, |place| place.offset)
    };
    let lowest = |(partition, end): (&Partition, &i64)| {
        let lowest = names.iter().map(|group| place(group, partition)).min().unwrap_or(0);
        (partition.clone(), lowest.min(*end))
    };
    ends.iter().map(lowest).collect()
}

/// A compacted topic refuses to be trimmed.
fn unsupported(operation: &'static str, refusal: Error) -> Error {
    match code_of(&refusal) {
        Some(rdkafka::error::RDKafkaErrorCode::PolicyViolation) => {
            let text = "the stream is not trimmed but compacted, see its setting cleanup.policy";
            error(ErrorKind::Unsupported, operation, text).caused_by(refusal)
        }
        _ => refusal,
    }
}

/// Deletes the stream with its groups and all helper topics.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist.
pub(crate) async fn delete(cluster: &Cluster, stream: &StreamName) -> Result<()> {
    const OPERATION: &str = "delete a stream";
    let topic = stream.as_str();
    if cluster.partitions(OPERATION, topic).await?.is_none() {
        return Err(missing(OPERATION, topic));
    }
    let topics = cluster.topics(OPERATION).await?;
    let helpers: Vec<_> = topics.keys().map(String::as_str).filter(|name| is_helper(name, |of| of == topic)).collect();
    // The broker forgets what was committed for a topic that is gone.
    let groups = cluster.committed_by_all(OPERATION).await?;
    cluster.delete_topics(OPERATION, &helpers).await?;
    for (group, places) in groups {
        // What is still consumed is forgotten with the topics.
        unless_in_use(cluster.forget(OPERATION, &group, places, (topic, &helpers)).await)?;
    }
    // The stream comes last: as long as it is there, a call that failed can be made again.
    cluster.delete_topics(OPERATION, &[topic]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::Committed;

    fn place(topic: &str, partition: i32, offset: i64) -> Committed {
        Committed { partition: (topic.into(), partition), offset, metadata: String::new() }
    }

    #[test]
    fn what_some_group_needs_stays() {
        let ends = BTreeMap::from([(("orders".to_owned(), 0), 10), (("orders".to_owned(), 1), 10)]);
        let nobody = Groups { committed: vec![("other".into(), vec![place("shop", 0, 5)])], described: Vec::new() };
        assert!(needed(&nobody, "orders", &ends).is_empty());
        let fast = ("fast".to_owned(), vec![place("orders", 0, 99), place("orders", 1, 7)]);
        let alone = Groups { committed: vec![fast.clone()], described: Vec::new() };
        assert_eq!(needed(&alone, "orders", &ends).into_values().collect::<Vec<_>>(), [10, 7]);
        let slow = ("slow".to_owned(), vec![place("orders", 1, 3)]);
        let both = Groups { committed: vec![fast, slow], described: Vec::new() };
        assert_eq!(needed(&both, "orders", &ends).into_values().collect::<Vec<_>>(), [0, 3]);
    }
}

//! Moving a group, and deleting one. The broker lets nobody but members commit for a group that has some, and so refuses.

use zephcast_core::driver::has_members;
use zephcast_core::{Broker, Error, ErrorKind, GroupName, Result, Start, StreamName};

use crate::cluster::Cluster;
use crate::cluster::groups::{self, is_in_use, unless_in_use};
use crate::error::{code_of, error, missing};
use crate::native::{Committed, GroupDescription};
use crate::start::{commit_of, places};
use crate::status::{check_exists, ensure_exists, name};
use crate::streams::has_member_for;

/// Moves a group in all partitions of the stream, by one commit. Nothing but the offset is known of the new places.
///
/// # Errors
/// `NotFound`, naming what does not exist; `InvalidInput` for a start that the stream cannot have; `Conflict` while the
/// group has members, also those for other streams.
pub(crate) async fn seek(cluster: &Cluster, stream: &StreamName, group: &GroupName, to: Start) -> Result<()> {
    const OPERATION: &str = "move a group";
    let topics = cluster.topics_of(stream, group);
    let topic = topics.stream.as_str();
    ensure_exists(cluster, OPERATION, &topics).await?;
    let described = cluster.describe(OPERATION, topic).await?.ok_or_else(|| missing(OPERATION, topic))?;
    let places = places(cluster, OPERATION, topic, described.partitions, to).await?;
    let commits: Vec<Committed> =
        places.iter().map(|(partition, offset)| commit_of(topic, *partition, &described.place(*offset))).collect();
    let _one_at_a_time = cluster.anchoring.lock().await;
    match cluster.commit(OPERATION, &topics.group, &commits).await {
        Err(refusal) if code_of(&refusal).is_some_and(groups::has_members) => {
            let described = cluster.describe_group(OPERATION, &topics.group).await?;
            Err(lived_in(OPERATION, stream.as_str(), group, &described))
        }
        outcome => outcome,
    }
}

/// Deletes a group of the stream: its places there, and then its helper topics. As long as one of those is there, a call
/// that failed can be made again.
///
/// # Errors
/// `NotFound`, naming what does not exist; `Conflict` while it has members for the stream.
pub(crate) async fn delete(cluster: &Cluster, stream: &StreamName, group: &GroupName) -> Result<()> {
    const OPERATION: &str = "delete a group";
    let topics = cluster.topics_of(stream, group);
    let existing = cluster.described(OPERATION, &topics.all()).await?;
    let (streams, helpers): (Vec<&str>, Vec<&str>) =
        existing.keys().map(String::as_str).partition(|topic| *topic == topics.stream);
    if streams.is_empty() {
        return Err(missing(OPERATION, &topics.stream));
    }
    let _one_at_a_time = cluster.anchoring.lock().await;
    let (committed, described) = tokio::try_join!(
        cluster.committed_surely(OPERATION, &topics.group, &topics.stream),
        cluster.describe_group(OPERATION, &topics.group),
    )?;
    if helpers.is_empty() {
        check_exists(OPERATION, &topics, &committed, &described)?;
    }
    if has_member_for(&described, &topics.stream) {
        return Err(lived_in(OPERATION, stream.as_str(), group, &described));
    }
    // Its id may be that of a group of other streams, which stays.
    match cluster.forget(OPERATION, &topics.group, committed, (&topics.stream, &topics.all())).await {
        Err(refusal) if code_of(&refusal).is_some_and(is_in_use) => {
            let described = cluster.describe_group(OPERATION, &topics.group).await?;
            return Err(lived_in(OPERATION, stream.as_str(), group, &described));
        }
        outcome => outcome?,
    }
    // What was removed from its dead letters, by a group of that name.
    unless_in_use(cluster.delete_group(OPERATION, &topics.dead).await)?;
    cluster.delete_topics(OPERATION, &helpers).await
}

/// The refusal, by the members that the broker knows.
fn lived_in(operation: &'static str, stream: &str, group: &GroupName, described: &GroupDescription) -> Error {
    let names: Vec<String> =
        described.members.iter().map(|member| name(member, &described.members).to_string()).collect();
    if names.is_empty() {
        return error(ErrorKind::Conflict, operation, format!("members of the group {group:?} come and go; try again"));
    }
    let are_placed = described.members.iter().all(|member| !member.partitions.is_empty());
    if are_placed && !has_member_for(described, stream) {
        let text = format!(
            "the id of the group {group:?} has members for other streams ({}), and only they can commit for it; stop them \
             first, or have groups by stream",
            names.join(", ")
        );
        return error(ErrorKind::Conflict, operation, text);
    }
    has_members(operation, group, &names).on(Broker::Kafka)
}

//! A look at a group.

mod members;
mod seen;

use std::time::Instant;

use zephcast_core::{Broker, GroupName, GroupStatus, Result, StreamName, UnitId, UnitStatus};

use self::members::Roster;
pub(crate) use self::members::name;
use self::seen::Seen;
pub(crate) use self::seen::{check_exists, ensure_exists, removed};
use crate::cluster::Cluster;
use crate::topics::Topics;

const OPERATION: &str = "group status";

/// How far a group is, of this program or of another one.
///
/// # Errors
/// `NotFound`, naming what does not exist.
pub(crate) async fn group(cluster: &Cluster, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
    let topics = cluster.topics_of(stream, group);
    let looked_at = Instant::now();
    let seen = Seen::read(cluster, &topics).await?;
    let roster = Roster::new(&seen, &topics.stream, now_ms());
    let units: Vec<UnitStatus> =
        (0..seen.partitions).map(|unit| unit_status(&seen, &roster, &topics, UnitId(unit))).collect();
    let is_stream = |topic: &str| topic == topics.stream;
    let unread = seen.unsettled(is_stream);
    let retried = seen.unsettled(|topic| !is_stream(topic));
    let retrying = roster.in_flight(|topic| !is_stream(topic)).unwrap_or(0);
    Ok(GroupStatus {
        stream: stream.clone(),
        group: group.clone(),
        broker: Broker::Kafka,
        looked_at,
        published: seen.is_complete.then(|| seen.published(&topics.stream)),
        lag: seen.is_complete.then_some(unread + retried),
        in_flight: roster.in_flight(|_| true),
        oldest_pending: roster.oldest(),
        delayed: seen.is_complete.then_some(retried.saturating_sub(retrying)),
        dead_letters: seen.dead,
        members: roster.into_statuses(),
        units,
        warnings: Vec::new(),
    })
}

fn unit_status(seen: &Seen, roster: &Roster, topics: &Topics, unit: UnitId) -> UnitStatus {
    let partition = (topics.stream.clone(), unit.0.cast_signed());
    let standing = seen.standings.get(&partition);
    UnitStatus {
        unit,
        committed: standing.and_then(|standing| standing.place.as_ref()).map(|place| place.next.to_string()),
        end: standing.map(|standing| standing.end.to_string()),
        lag: standing.map(seen::Standing::unsettled),
        owner: roster.owner(&partition).cloned(),
    }
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

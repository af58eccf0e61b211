//! What a member does from time to time: it looks whether its stream is still the same topic, reads retry topics that others
//! made, and takes from those what the group has settled, since nothing else limits them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use zephcast_core::{ErrorKind, UnitId};

use crate::member::Member;
use crate::native::Partition;

/// How long what another member made come later may stay unseen after that member's death.
const EVERY: Duration = Duration::from_secs(15);
/// How long it may stay unseen that the stream was deleted and made anew, while messages of the new one are passed over.
/// They are not lost: whoever sees it reads the new one from its beginning.
const SAME: Duration = Duration::from_secs(3);

/// A task that ends when this is dropped.
pub(crate) struct Keeper(JoinHandle<()>);

impl Keeper {
    pub(crate) fn start(member: Arc<Member>) -> Self {
        Self(tokio::spawn(async move {
            let (mut trimmed, mut may_trim) = (HashMap::new(), true);
            // The first look for those was made by joining.
            let mut looked = Instant::now();
            loop {
                // What has just come is looked at at once.
                let _ = tokio::time::timeout(SAME, member.look.notified()).await;
                find_stream(&member).await;
                if looked.elapsed() < EVERY {
                    continue;
                }
                looked = Instant::now();
                find_retries(&member).await;
                may_trim = trim_retries(&member, &mut trimmed, may_trim).await;
            }
        }))
    }
}

/// Looks which topic the stream is now; once more where it seems to be another one than before.
async fn find_stream(member: &Member) {
    let stream = &member.topics.stream;
    for _ in 0..2 {
        let known = match member.cluster.describe("look for the stream", stream).await {
            Ok(Some(known)) => known,
            // Whoever reads from it finds that, too.
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, %stream, "not looked for the stream"),
        };
        if let Some(is_gone) = member.assignment().topic_is(known.id) {
            if is_gone {
                tracing::warn!(%stream, "the stream was deleted and made anew");
                member.wake();
            }
            return;
        }
    }
}

/// Subscribes to the retry topics that others made.
async fn find_retries(member: &Member) {
    match member.cluster.described("look for retries", &member.topics.retries()).await {
        Ok(topics) => {
            let mut assignment = member.assignment();
            let before = assignment.topics.len();
            assignment.topics.extend(topics.into_keys());
            assignment.resubscribe |= assignment.topics.len() > before;
            drop(assignment);
            member.wake();
        }
        Err(error) => tracing::debug!(%error, stream = %member.topics.stream, "not looked for retries"),
    }
}

/// Removes what is settled from the retry topics, as far as it was not removed before. Whether the user may, who is told once
/// what to do.
async fn trim_retries(member: &Member, trimmed: &mut HashMap<UnitId, i64>, could: bool) -> bool {
    let settled: Vec<(UnitId, i64)> = {
        let mut assignment = member.assignment();
        let retries = assignment.partitions().filter(|(unit, _)| unit.is_helper());
        retries.map(|(unit, partition)| (unit, partition.durable_next())).collect()
    };
    let fresh = |(unit, next): &(UnitId, i64)| trimmed.get(unit) != Some(next) && *next > 0;
    let settled: Vec<_> = settled.into_iter().filter(fresh).collect();
    let partition = |(unit, next): &(UnitId, i64)| {
        let (topic, number) = member.topics.partition(*unit)?;
        Some(((topic.to_owned(), number), *next))
    };
    let before: BTreeMap<Partition, i64> = settled.iter().filter_map(partition).collect();
    if before.is_empty() {
        return could;
    }
    let stream = &member.topics.stream;
    match member.cluster.delete_records("trim retries", &before).await {
        Ok(_) => trimmed.extend(settled),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            if could {
                tracing::warn!(%error, %stream, "retry topics grow, until the user of a member may `Delete` from them");
            }
            return false;
        }
        Err(error) => tracing::debug!(%error, %stream, "retry topics are not trimmed"),
    }
    true
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

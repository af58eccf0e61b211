//! When to commit, and for whom.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zephcast_core::{Error, ErrorKind, Result, UnitId};

use super::Assignment;
use crate::partition::{Partition, Snapshot};
use crate::place::{LEAST_METADATA, METADATA_BYTES};

/// How long after a failed commit the next one is tried.
const RETRY: Duration = Duration::from_millis(100);
/// After this time without an answer a commit does not hold up what waits for it to be handed out.
const LATE: Duration = Duration::from_secs(1);

/// One commit is on its way at a time, so that its answer is told from others'.
pub(crate) struct Commit {
    under_way: Option<UnderWay>,
    /// Those who wait for everything that is settled so far.
    waiting: Vec<oneshot::Sender<Result<()>>>,
    last: Instant,
    not_before: Option<Instant>,
    /// How many bytes of metadata the broker takes with an offset, as far as is known.
    pub(crate) metadata: usize,
}

struct UnderWay {
    snapshots: Vec<(UnitId, Snapshot)>,
    waiting: Vec<oneshot::Sender<Result<()>>>,
}

impl Commit {
    pub(super) fn new() -> Self {
        Self { under_way: None, waiting: Vec::new(), last: Instant::now(), not_before: None, metadata: METADATA_BYTES }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether the one on its way has been so for long.
    pub(crate) fn is_late(&self) -> bool {
        self.is_under_way() && self.last.elapsed() > LATE
    }

    fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The broker did not take as many metadata. Whether it is of use to try with fewer.
    pub(crate) fn says_less(&mut self) -> bool {
        let less = (self.metadata / 2).max(LEAST_METADATA);
        std::mem::replace(&mut self.metadata, less) > less
    }
}

impl Assignment {
    /// Resolves when everything that is settled by now is durable, or lost.
    pub(crate) fn await_commit(&mut self) -> oneshot::Receiver<Result<()>> {
        let (done, answer) = oneshot::channel();
        self.commit.waiting.push(done);
        answer
    }

    /// When the poll thread has to look again, at the latest.
    pub(crate) fn commit_due_in(&self, interval: Duration) -> Duration {
        const LONG: Duration = Duration::from_secs(60);
        let nothing = !self.partitions.values().any(Partition::is_changed) && !self.commit.is_awaited();
        if self.commit.is_under_way() || nothing {
            return LONG;
        }
        let waits_until = self.commit.not_before.unwrap_or(self.commit.last + interval);
        waits_until.saturating_duration_since(Instant::now())
    }

    /// What to commit now, if anything is.
    pub(crate) fn begin_commit(&mut self, interval: Duration, now_ms: u64) -> Option<Vec<(UnitId, Snapshot)>> {
        if self.commit.under_way.is_some() || self.commit.not_before.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        let due = self.commit.is_awaited()
            || self.commit.last.elapsed() >= interval
            || self.partitions.values().any(|partition| partition.wants_reach(now_ms));
        if !due {
            return None;
        }
        let (oldest_ms, lease_ms) = (self.oldest_ms, self.lease_ms);
        let changed = |partition: &Partition| {
            partition.is_changed() || partition.wants_reach(now_ms) || partition.names_more(now_ms)
        };
        let snapshots: Vec<_> = self
            .partitions
            .iter_mut()
            .filter(|(_, partition)| changed(partition))
            .map(|(unit, partition)| (*unit, partition.snapshot(oldest_ms, lease_ms, now_ms)))
            .collect();
        let waiting = std::mem::take(&mut self.commit.waiting);
        self.commit.last = Instant::now();
        if snapshots.is_empty() {
            waiting.into_iter().for_each(|done| drop(done.send(Ok(()))));
            return None;
        }
        self.commit.under_way = Some(UnderWay { snapshots: snapshots.clone(), waiting });
        Some(snapshots)
    }

    /// The answer of the commit that was on its way; `refused` are units of which it was refused, and why.
    pub(crate) fn commit_answered(&mut self, result: Result<()>, refused: &[(UnitId, Error)]) {
        let Some(UnderWay { snapshots, waiting }) = self.commit.under_way.take() else { return };
        tracing::trace!(?result, ?refused, ?snapshots, "a commit is answered");
        let mut failure = result.err();
        if failure.is_none() {
            self.came_back();
        }
        for (unit, snapshot) in &snapshots {
            let error = refused.iter().find(|(refused, _)| refused == unit).map(|(_, error)| error);
            // A retry topic that was deleted has taken its messages along.
            let error = error.filter(|error| !unit.is_helper() || error.kind() != ErrorKind::NotFound);
            match (&failure, error) {
                (None, None) => {
                    if let Some(partition) = self.partitions.get_mut(unit) {
                        partition.committed(snapshot);
                    }
                }
                (_, Some(error)) => failure = Some(error.clone()),
                (Some(_), None) => {}
            }
        }
        if failure.as_ref().is_some_and(|error| error.kind() == ErrorKind::TooLarge) && self.commit.says_less() {
            // The next one may be taken.
            self.commit.waiting.extend(waiting);
            return;
        }
        self.commit.not_before = failure.as_ref().map(|_| Instant::now() + RETRY);
        // A stream that is gone is looked for; anything else does not pass, and nothing more could be handed out.
        if let Some(error) =
            failure.as_ref().filter(|error| !error.is_retryable() && error.kind() != ErrorKind::NotFound)
        {
            self.fail(error.clone());
        }
        let answer = failure.map_or(Ok(()), Err);
        waiting.into_iter().for_each(|done| drop(done.send(answer.clone())));
    }

    /// Those who wait will not be answered any more.
    pub(crate) fn end_commits(&mut self) {
        self.commit.under_way = None;
        self.commit.waiting.clear();
    }
}

//! Telling the broker where the group stands.

use std::thread;
use std::time::Instant;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use zephcast_core::{Error, ErrorKind, Result, UnitId};

use super::{LOOK, MemberConsumer, MemberContext};
use crate::clock::now_ms;
use crate::error::{error, translate};
use crate::partition::Snapshot;

impl MemberContext {
    /// Commits what is due, and takes the answers of earlier commits.
    pub(crate) fn serve_commits(&self) {
        self.take_answers();
        let due = self.member.assignment().begin_commit(self.member.config.commit_interval, now_ms());
        let Some(snapshots) = due else { return };
        let sent = self.list(&snapshots).and_then(|list| match self.queues().as_ref() {
            Some(queues) => queues.commits.send(&list).map_err(KafkaError::ConsumerCommit),
            None => Err(KafkaError::Canceled),
        });
        if let Err(error) = sent {
            self.member.assignment().commit_answered(Err(translate("commit", error)), &[]);
        }
    }

    fn take_answers(&self) {
        while let Some(answer) = self.queues().as_ref().and_then(|queues| queues.commits.next()) {
            let result = answer.refusal.map_or(Ok(()), |code| Err(refusal(code)));
            let refused = answer.refused.into_iter();
            let refused =
                refused.filter_map(|(topic, partition, code)| Some((self.unit(&topic, partition)?, refusal(code))));
            self.member.assignment().commit_answered(result, &refused.collect::<Vec<_>>());
            // More may be handed out now.
            self.member.arrived.notify_one();
        }
    }

    /// Commits and waits for the answer; before that for the one of the commit under way, which must not come after it.
    pub(crate) fn commit_now(&self, consumer: &MemberConsumer, snapshots: &[(UnitId, Snapshot)]) -> Result<()> {
        let deadline = Instant::now() + self.member.config.request_timeout;
        while self.member.assignment().commit.is_under_way() && Instant::now() < deadline && !consumer.assignment_lost()
        {
            self.take_answers();
            thread::park_timeout(LOOK);
        }
        loop {
            let list = self.list(snapshots).map_err(|error| translate("commit", error))?;
            let committed =
                consumer.commit(&list, CommitMode::Sync).map_err(|error| match error.rdkafka_error_code() {
                    Some(code) => refusal(code),
                    None => translate("commit", error),
                });
            match committed {
                Err(error) if error.kind() == ErrorKind::TooLarge && self.member.assignment().commit.says_less() => {}
                committed => return committed,
            }
        }
    }

    /// Commits for the last time where these units stand, and forgets them. After a retryable error they are still there.
    pub(crate) fn give_up(&self, consumer: &MemberConsumer, units: &[UnitId]) -> Result<()> {
        let farewells: Vec<_> = {
            let mut assignment = self.member.assignment();
            units.iter().filter_map(|unit| Some((*unit, assignment.partition(*unit)?.farewell()))).collect()
        };
        let committed = if farewells.is_empty() { Ok(()) } else { self.commit_now(consumer, &farewells) };
        tracing::debug!(stream = %self.member.topics.stream, member = %self.member.name, ?farewells, ?committed, "given up");
        if committed.as_ref().is_err_and(Error::is_retryable) {
            return committed;
        }
        self.forget(units, committed.is_ok());
        committed
    }

    /// These units are not this member's any more. `durable`: what was settled of them is at the broker.
    pub(super) fn forget(&self, units: &[UnitId], durable: bool) {
        let mut assignment = self.member.assignment();
        for unit in units {
            assignment.remove(*unit, durable);
        }
    }

    fn list(&self, snapshots: &[(UnitId, Snapshot)]) -> KafkaResult<TopicPartitionList> {
        let metadata = self.member.assignment().commit.metadata;
        let mut list = TopicPartitionList::with_capacity(snapshots.len());
        for (unit, snapshot) in snapshots {
            let Some((topic, partition)) = self.member.topics.partition(*unit) else { continue };
            let mut element = list.add_partition(topic, partition);
            element.set_offset(Offset::Offset(snapshot.place.next))?;
            element.set_metadata(snapshot.place.write(metadata));
        }
        Ok(list)
    }
}

/// Whether the member is out of its group is told as the loss of its partitions; until then a commit is tried again.
fn refusal(code: Code) -> Error {
    let refusal = translate("commit", KafkaError::ConsumerCommit(code));
    match refusal.kind() {
        ErrorKind::LeaseLost => {
            error(ErrorKind::Unavailable, "commit", "the group is about to change its members").caused_by(refusal)
        }
        _ => refusal,
    }
}

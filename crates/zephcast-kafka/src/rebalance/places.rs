//! Where a group stands in the partitions that come.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use zephcast_core::{Error, ErrorKind, UnitId};

use super::{LOOK, MemberConsumer, MemberContext, OPERATION, is_there};
use crate::assignment::End;
use crate::config::OutOfRange;
use crate::error::{error, missing, translate};
use crate::place::Place;

/// How long it may take to ask where logs end, or for the stream.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

impl MemberContext {
    /// Where the group stands in each partition. `None` when there is no use in knowing it any more. When it is not known for
    /// so long that the group would go on without this member, it begins anew.
    pub(super) fn places(
        &self,
        consumer: &MemberConsumer,
        partitions: &TopicPartitionList,
    ) -> Option<Vec<(UnitId, Place)>> {
        let deadline = self.deadline();
        loop {
            let unknown = match self.read_places(consumer, partitions) {
                Ok(places) => return Some(places),
                Err(unknown) => translate(OPERATION, unknown),
            };
            tracing::warn!(error = %unknown, stream = %self.member.topics.stream, "the group's place is not known yet");
            let is_too_late = Instant::now() > deadline;
            let is_over = self.tell(consumer, unknown) || consumer.assignment_lost() || is_too_late;
            self.member.assignment().broken |= is_too_late;
            self.member.arrived.notify_one();
            if is_over || !matches!(self.member.assignment().end, End::Not) {
                return None;
            }
            // Other partitions go on.
            self.serve_commits();
            thread::park_timeout(LOOK);
        }
    }

    /// Tells the user why nothing comes; whether it is for good.
    fn tell(&self, consumer: &MemberConsumer, unknown: Error) -> bool {
        let stream = &self.member.topics.stream;
        let is_gone = unknown.kind() == ErrorKind::NotFound && is_there(consumer, stream, LOG_PATIENCE) == Some(false);
        let mut assignment = self.member.assignment();
        match unknown.kind() {
            _ if is_gone => assignment.fail(missing(OPERATION, stream)),
            ErrorKind::PermissionDenied => assignment.fail(unknown),
            _ if unknown.is_retryable() => assignment.away(unknown),
            // The stream is there: this passes.
            _ => {
                let text = "a partition's beginning is not known yet";
                assignment.away(error(ErrorKind::Unavailable, OPERATION, text).caused_by(unknown));
            }
        }
        assignment.has_failed()
    }

    fn read_places(
        &self,
        consumer: &MemberConsumer,
        partitions: &TopicPartitionList,
    ) -> KafkaResult<Vec<(UnitId, Place)>> {
        let patience = self.member.config.request_timeout;
        let mut wanted = TopicPartitionList::with_capacity(partitions.count());
        for element in partitions.elements() {
            wanted.add_partition(element.topic(), element.partition());
        }
        let committed = consumer.committed_offsets(wanted, patience)?;
        let (until, begins_until) = (Instant::now() + LOG_PATIENCE, Instant::now() + patience);
        let mut places = Vec::with_capacity(partitions.count());
        for element in committed.elements() {
            element.error()?;
            let (topic, partition) = (element.topic(), element.partition());
            let Some(unit) = self.unit(topic, partition) else { continue };
            let place = match element.offset() {
                Offset::Offset(next) => Place::read(next, element.metadata()),
                _ => {
                    let known = self.member.starts.get(&partition).filter(|_| !unit.is_helper());
                    match known {
                        Some(place) => place.clone(),
                        None => Place::at(self.beginning(consumer, unit, (topic, partition), begins_until)?),
                    }
                }
            };
            places.push((unit, self.within_log(consumer, topic, partition, place, until)));
        }
        Ok(places)
    }

    /// Where a partition begins that the group has no place in. Without a leader it holds nobody up, if it is read from its
    /// beginning in any case: where that is shows then.
    fn beginning(
        &self,
        consumer: &MemberConsumer,
        unit: UnitId,
        (topic, partition): (&str, i32),
        until: Instant,
    ) -> KafkaResult<i64> {
        let patience = until.saturating_duration_since(Instant::now()).max(LOOK);
        // Without a leader the question comes to no end, or the partition counts as unknown.
        let is_without_leader =
            |code| matches!(code, Some(Code::OperationTimedOut | Code::LeaderNotAvailable | Code::UnknownPartition));
        match consumer.fetch_watermarks(topic, partition, patience) {
            Ok((first, _)) => Ok(first),
            Err(_) if unit.is_helper() => Ok(0),
            Err(unknown)
                if is_without_leader(unknown.rdkafka_error_code())
                    && self.member.config.out_of_range == OutOfRange::Earliest =>
            {
                Ok(0)
            }
            Err(unknown) => Err(unknown),
        }
    }

    /// What lies beyond the end of the log was not handed out by anybody.
    fn within_log(
        &self,
        consumer: &MemberConsumer,
        topic: &str,
        partition: i32,
        mut place: Place,
        until: Instant,
    ) -> Place {
        let patience = until.saturating_duration_since(Instant::now()).max(LOOK);
        if !place.out.is_empty()
            // Without a leader nobody knows; then what comes there first is taken for one of them.
            && let Ok((_, end)) = consumer.fetch_watermarks(topic, partition, patience)
        {
            place.out.remove_run(end, i64::MAX);
        }
        place
    }
}

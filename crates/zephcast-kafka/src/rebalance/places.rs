//! Where a group stands in the partitions that come.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use zephcast_core::{ErrorKind, UnitId};

use super::{LOOK, MemberConsumer, MemberContext, OPERATION};
use crate::assignment::End;
use crate::error::translate;
use crate::place::Place;

/// How long it may take to ask where logs end.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

impl MemberContext {
    /// Where the group stands in each partition. `None` when there is no use in knowing it any more.
    pub(super) fn places(
        &self,
        consumer: &MemberConsumer,
        partitions: &TopicPartitionList,
    ) -> Option<Vec<(UnitId, Place)>> {
        loop {
            match self.read_places(consumer, partitions) {
                Ok(places) => return Some(places),
                Err(error) => {
                    tracing::warn!(%error, stream = %self.member.topics.stream, "the group's place is not known yet");
                    let error = translate(OPERATION, error);
                    let is_for_good = error.kind() == ErrorKind::PermissionDenied;
                    let mut assignment = self.member.assignment();
                    if is_for_good {
                        assignment.fail(error);
                    } else {
                        assignment.away(error);
                    }
                    drop(assignment);
                    self.member.arrived.notify_one();
                    if is_for_good {
                        return None;
                    }
                }
            }
            // Other partitions go on.
            self.serve_commits();
            let over = !matches!(self.member.assignment().end, End::Not);
            if over || consumer.assignment_lost() {
                return None;
            }
            thread::park_timeout(LOOK);
        }
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
        let until = Instant::now() + LOG_PATIENCE;
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
                        // A retry topic without a leader holds nobody up: where it begins is found when it is read.
                        None if unit.is_helper() => Place::at(first(consumer, topic, partition, patience).unwrap_or(0)),
                        None => Place::at(first(consumer, topic, partition, patience)?),
                    }
                }
            };
            places.push((unit, self.within_log(consumer, topic, partition, place, until)));
        }
        Ok(places)
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

/// The beginning of a partition.
fn first(consumer: &MemberConsumer, topic: &str, partition: i32, patience: Duration) -> KafkaResult<i64> {
    Ok(consumer.fetch_watermarks(topic, partition, patience)?.0)
}

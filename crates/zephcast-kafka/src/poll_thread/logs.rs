//! Where the logs begin, and where the library is in them.
//!
//! A place that is not in the log is put to the log's first record by the library. It does so also for a place that is
//! there, when it fetched without one while the partition came or went (`rd_kafka_offset_reset` tells no assignment from
//! another, librdkafka 2.12). So nothing is believed of that: records from before the place are passed over, the broker
//! is asked, and fetching goes back to the place if that is in the log.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::Offset;
use zephcast_core::driver::Fetched;
use zephcast_core::{ErrorKind, Event, Position, PositionStyle, Token, UnitId};

use super::Poller;
use crate::config::OutOfRange;
use crate::error::error;
use crate::native::log_start;
use crate::partition::Partition;
use crate::place::Place;

const OPERATION: &str = "fetch";
/// How long it may take to ask where a log begins and ends; while that is not known, it is asked again.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
/// How long it is waited for the library, which takes no question to a broker.
const SEEK_PATIENCE: Duration = Duration::from_secs(1);

/// How long it may stay unseen that a log was cut, or that nothing but a transaction's end is left to read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Poller {
    /// Records came from before the partition's place, or what comes there could not be read.
    pub(super) fn find_place(&self, unit: UnitId) {
        let Some((topic, number)) = self.member.topics.partition(unit) else { return };
        let known =
            self.member.assignment().partition(unit).map(|partition| (partition.position(), partition.gone_for()));
        let Some((position, gone_for)) = known else { return };
        let log = self.consumer.fetch_watermarks(topic, number, LOG_PATIENCE);
        let (first, end) = match log {
            Ok(log) => log,
            Err(failure) => {
                tracing::warn!(%failure, topic, number, "the log's ends are not known");
                if gone_for.is_none() {
                    self.read_from(unit, position);
                }
                return;
            }
        };
        if (first..=end).contains(&position) && gone_for.is_none() {
            tracing::debug!(topic, number, position, first, end, "fetched again from the group's place");
            return self.read_from(unit, position);
        }
        self.leave_place(unit, position, first..end, gone_for);
    }

    /// The group's place is not in the log: reading goes on where it is told to.
    fn leave_place(&self, unit: UnitId, position: i64, log: Range<i64>, gone_for: Option<u64>) {
        let policy = if unit.is_helper() { OutOfRange::Earliest } else { self.member.config.out_of_range };
        let to = match policy {
            OutOfRange::Earliest => log.start,
            // Of a topic that is new nobody has anything yet.
            OutOfRange::Latest if gone_for.is_some() => log.start,
            OutOfRange::Latest => log.end,
            OutOfRange::Fail => {
                let stream = &self.member.topics.stream;
                let text = format!(
                    "the group is at {unit}:{position} of {stream:?}, which has from {} to before {}; move the group, or \
                     choose another policy `out_of_range`",
                    log.start, log.end
                );
                return self.fail(error(ErrorKind::NotFound, OPERATION, text));
            }
        };
        tracing::warn!(%unit, position, ?log, to, stream = %self.member.topics.stream, "the group's place is not in the log");
        {
            let mut assignment = self.member.assignment();
            let at = |offset: i64| Position::new(PositionStyle::UnitOffset, unit, Token(offset.unsigned_abs(), 0));
            let mut events = vec![Event::OutOfRange { from: at(position), to: at(to) }];
            match assignment.partition(unit) {
                Some(partition) if position <= to && gone_for.is_none() => {
                    let count = partition.skip_to(log.start);
                    partition.skip_to(to);
                    events.push(Event::Missing { unit, count });
                }
                known => {
                    // What is in the log now is something else.
                    let paused = known.is_some_and(|partition| partition.paused);
                    assignment.lose(&[unit]);
                    let number = assignment.next_assignment();
                    let place = Place { topic: gone_for.unwrap_or(0), ..Place::at(to) };
                    let mut partition = Partition::new(number, !unit.is_helper(), place);
                    // So that it is resumed.
                    partition.paused = paused;
                    assignment.assigned(vec![(unit, partition)]);
                }
            }
            // Retry topics are nobody's business but ours.
            events.into_iter().filter(|_| !unit.is_helper()).for_each(|event| assignment.tell(Fetched::Event(event)));
        }
        self.member.arrived.notify_one();
        self.read_from(unit, to);
    }

    /// Fetches from here. What was fetched and not read is dropped by the library.
    pub(super) fn read_from(&self, unit: UnitId, offset: i64) {
        let Some((topic, number)) = self.member.topics.partition(unit) else { return };
        // Once it has sought, the library knows of no position until there is something to read.
        let sought = self.consumer.seek(topic, number, Offset::Offset(offset), SEEK_PATIENCE);
        if let Some(partition) = self.member.assignment().partition(unit) {
            partition.sought(sought.is_ok());
        }
        if let Err(failure) = sought {
            tracing::warn!(%failure, topic, number, offset, "the partition could not be read from its place");
        }
    }

    /// A record came by the consumer's own queue, although every partition leads to ours before it is read.
    pub(super) fn lead_back(&self, topic: &str, partition: i32) {
        tracing::warn!(topic, partition, "a partition is led back to its queue");
        self.consumer.context().with_batches(|batches| batches.take_in(topic, partition));
        let Some(unit) = self.member.topics.unit(topic, partition) else { return };
        let position = self.member.assignment().partition(unit).map(|partition| partition.position());
        if let Some(position) = position {
            self.read_from(unit, position);
        }
    }

    /// Looks from time to time what is gone from the logs, and what is there without being a record.
    pub(super) fn look_at_logs(&mut self) {
        if self.logs_seen.elapsed() < LOOK_EVERY {
            return;
        }
        self.logs_seen = Instant::now();
        // What was fetched and not read yet is of use, even if it is gone from the log.
        let is_read = self.consumer.context().with_batches(|batches| batches.is_empty()).unwrap_or(false);
        let Ok(positions) = self.consumer.position() else { return };
        let mut gone = Vec::new();
        for element in positions.elements() {
            let Some(unit) = self.member.topics.unit(element.topic(), element.partition()) else { continue };
            let mut assignment = self.member.assignment();
            let Some(partition) = assignment.partition(unit) else { continue };
            if let Offset::Offset(position) = element.offset() {
                partition.nothing_before(position);
            }
            let first = log_start(&self.consumer, element.topic(), element.partition());
            if is_read && first.is_some_and(|first| first > partition.position()) {
                gone.push(unit);
            }
        }
        gone.into_iter().for_each(|unit| self.find_place(unit));
    }
}

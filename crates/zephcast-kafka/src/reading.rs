//! What a read of the queue brings, sorted by partition.

use std::collections::BTreeSet;

use rdkafka::error::RDKafkaErrorCode;
use zephcast_core::driver::{Fetched, Incoming};
use zephcast_core::{Event, Token, UnitId};

use crate::assignment::Assignment;
use crate::chunk::Chunk;
use crate::native::Message;
use crate::partition::{Gap, Partition, Record, offset};
use crate::record;
use crate::topics::Topics;

/// About how much of a message's headers is kept: an id, or some of another program. They are not counted beforehand, since
/// looking through them costs more than copying them.
const HEADER_BYTES: usize = 48;

/// Records in runs of one partition, each in the order in which it came.
#[derive(Default)]
pub(crate) struct Reading {
    records: Vec<Record>,
    runs: Vec<(UnitId, Run)>,
    /// What went wrong.
    pub(crate) failures: Vec<(RDKafkaErrorCode, String)>,
    /// The size of the largest record.
    pub(crate) largest: usize,
}

/// What came of one partition.
enum Run {
    /// So many records.
    Records(usize),
    /// An error, where the next record was awaited.
    Error,
}

impl Reading {
    /// Copies what is wanted.
    pub(crate) fn of(messages: &[Message], topics: &Topics) -> Self {
        let mut reading = Self { records: Vec::with_capacity(messages.len()), ..Self::default() };
        let counted = messages.iter().filter(|message| message.error().is_none()).flat_map(lengths);
        let mut chunk = Chunk::for_all(counted, messages.len() * HEADER_BYTES);
        let mut current = None;
        for message in messages {
            let place = (message.topic_handle(), message.partition());
            if let Some(code) = message.error() {
                let unit = topics.unit(&message.topic(), message.partition());
                reading.runs.extend(unit.map(|unit| (unit, Run::Error)));
                reading.failures.push((code, message.error_text()));
                continue;
            }
            if current.is_none_or(|(known, _)| known != place) {
                current = Some((place, topics.unit(&message.topic(), message.partition())));
            }
            let Some((_, Some(unit))) = current else { continue };
            let record = to_record(message, unit, &mut chunk);
            reading.largest = reading.largest.max(record.incoming.message.byte_len());
            reading.records.push(record);
            match reading.runs.last_mut() {
                Some((last, Run::Records(count))) if *last == unit => *count += 1,
                _ => reading.runs.push((unit, Run::Records(1))),
            }
        }
        reading
    }

    /// Hands the records over to their partitions, if they still are this member's. `log_start` tells where a partition's
    /// log begins. Returns the units of which it is to be asked where their place is in the log.
    pub(crate) fn hand_over(
        self,
        assignment: &mut Assignment,
        log_start: impl Fn(UnitId) -> Option<i64>,
    ) -> BTreeSet<UnitId> {
        let mut astray = BTreeSet::new();
        let mut all = self.records.into_iter();
        for (unit, run) in self.runs {
            // What comes after a place that is to be fetched again comes again, too.
            let partition = assignment.partition(unit).filter(|_| !astray.contains(&unit));
            let Run::Records(count) = run else {
                partition.into_iter().for_each(Partition::erred);
                continue;
            };
            let mut records = all.by_ref().take(count);
            let Some(partition) = partition else {
                records.for_each(drop);
                continue;
            };
            let mut missing = 0;
            for record in records.by_ref() {
                let offset = offset(record.incoming.token);
                if partition.is_behind(offset) {
                    astray.insert(unit);
                    continue;
                }
                if let Some(gap) = partition.gap_before(offset) {
                    tracing::debug!(%unit, ?gap, "offsets without a record");
                    match partition.look_at_gap(&gap) {
                        Gap::Nothing => {}
                        Gap::Unread => {
                            astray.insert(unit);
                            break;
                        }
                        Gap::Unreadable => {
                            tracing::error!(%unit, ?gap, "messages that cannot be read are passed");
                            missing += partition.skip_to(gap.end);
                        }
                    }
                    if log_start(unit).is_some_and(|first| first > gap.start) {
                        astray.insert(unit);
                        break;
                    }
                }
                if partition.wants(offset) {
                    partition.push(record);
                }
            }
            records.for_each(drop);
            if missing > 0 && !unit.is_helper() {
                assignment.tell(Fetched::Event(Event::Missing { unit, count: missing }));
            }
        }
        astray
    }
}

/// How long payload and key are.
fn lengths(message: &Message) -> [usize; 2] {
    [message.payload(), message.key()].map(|bytes| bytes.map_or(0, <[u8]>::len))
}

/// A record that is of no assignment yet.
fn to_record(message: &Message, unit: UnitId, chunk: &mut Chunk) -> Record {
    let (payload, key) = (message.payload(), message.key());
    let (payload, key) = (payload.map(|bytes| chunk.copy(bytes)), key.map(|bytes| chunk.copy(bytes)));
    let token = Token(message.offset().unsigned_abs(), 0);
    let stored_ms = message.published_ms();
    let (message, notes) = record::take_apart(payload, key, message.headers(), |bytes| chunk.copy(bytes));
    let incoming = Incoming {
        token,
        origin: notes.origin.unwrap_or((unit, token)),
        message,
        attempt: notes.attempts.saturating_add(1),
        redelivered: unit.is_helper(),
        published_ms: notes.published_ms.or(stored_ms),
        first_failed_ms: notes.first_failed_ms,
        suspect: false,
    };
    Record { due_ms: notes.due_ms, incoming }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use zephcast_core::Message as Content;

    use super::*;
    use crate::place::Place;

    const UNIT: UnitId = UnitId(0);

    fn record(offset: u64) -> Record {
        let token = Token(offset, 0);
        let incoming = Incoming {
            token,
            origin: (UNIT, token),
            message: Content::new("x"),
            attempt: 1,
            redelivered: false,
            published_ms: None,
            first_failed_ms: None,
            suspect: false,
        };
        Record { due_ms: None, incoming }
    }

    /// Where a partition stands that began at 99 when this was read, and the library says that it came to 102.
    fn stands_at(offsets: &[u64], runs: Vec<Run>) -> (i64, bool) {
        let mut assignment = Assignment::new(BTreeSet::new(), Duration::from_secs(1));
        assignment.assigned(vec![(UNIT, Partition::new(1, true, Place::at(99)))]);
        let records = offsets.iter().map(|offset| record(*offset)).collect();
        let runs = runs.into_iter().map(|run| (UNIT, run)).collect();
        let astray = Reading { records, runs, ..Reading::default() }.hand_over(&mut assignment, |_| None);
        let partition = assignment.partition(UNIT).unwrap();
        partition.nothing_before(102);
        (partition.position(), astray.contains(&UNIT))
    }

    #[test]
    fn what_an_error_came_for_is_not_taken_for_read() {
        assert_eq!(stands_at(&[99], vec![Run::Records(1)]), (102, false));
        assert_eq!(stands_at(&[99], vec![Run::Records(1), Run::Error]), (100, false));
        assert_eq!(stands_at(&[101], vec![Run::Error, Run::Records(1)]), (99, true));
        assert_eq!(stands_at(&[99, 101], vec![Run::Records(1), Run::Error, Run::Records(1)]), (100, true));
    }
}

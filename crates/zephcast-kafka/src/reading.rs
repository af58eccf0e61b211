//! What a read of the queue brings, sorted by partition.

use std::collections::BTreeSet;

use rdkafka::error::RDKafkaErrorCode;
use zephcast_core::driver::{Fetched, Incoming};
use zephcast_core::{Token, UnitId};

use crate::assignment::Assignment;
use crate::native::{Raw, Read};
use crate::partition::{Partition, Record};
use crate::record::{self, Notes};
use crate::topics::{Topics, is_of_stream};

/// Records by partition, each run in the order in which it came.
pub(crate) struct Reading<'a> {
    topics: &'a Topics,
    runs: Vec<(UnitId, Vec<Decoded>)>,
    pub(crate) failures: Vec<Failure>,
    /// The size of the largest record.
    pub(crate) largest: usize,
}

/// What went wrong in a partition.
pub(crate) struct Failure {
    pub(crate) unit: Option<UnitId>,
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) text: String,
}

struct Decoded {
    offset: i64,
    published_ms: Option<u64>,
    message: zephcast_core::Message,
    notes: Notes,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(topics: &'a Topics) -> Self {
        Self { topics, runs: Vec::new(), failures: Vec::new(), largest: 0 }
    }

    /// Hands the records over to their partitions, if they still are this member's. `log_start` tells where a partition's
    /// log begins. Returns the units that are read from before their place.
    pub(crate) fn hand_over(
        self,
        assignment: &mut Assignment,
        log_start: impl Fn(UnitId) -> Option<i64>,
    ) -> BTreeSet<UnitId> {
        let mut astray = BTreeSet::new();
        for (unit, records) in self.runs {
            let Some(partition) = assignment.partition(unit) else { continue };
            let mut missing = 0;
            for read in records {
                if partition.is_behind(read.offset) {
                    astray.insert(unit);
                    continue;
                }
                if let Some(gap) = partition.gap_before(read.offset) {
                    tracing::debug!(%unit, ?gap, "offsets without a record");
                    let first = log_start(unit).filter(|first| *first > gap.start);
                    missing += first.map_or(0, |first| partition.skip_to(first.min(gap.end)));
                }
                if partition.wants(read.offset) {
                    let record = to_record(partition, unit, read);
                    partition.push(record);
                }
            }
            if missing > 0 {
                assignment.tell(Fetched::Missing { unit, count: missing });
            }
        }
        astray
    }
}

fn to_record(partition: &Partition, unit: UnitId, read: Decoded) -> Record {
    let Decoded { offset, published_ms, message, notes } = read;
    let token: Token = partition.token(offset);
    let attempts = partition.attempts(offset);
    let incoming = Incoming {
        token,
        origin: notes.origin.unwrap_or((unit, Token(token.0, 0))),
        message,
        attempt: notes.attempts.saturating_add(attempts.count).saturating_add(1),
        redelivered: !is_of_stream(unit) || attempts.count > 0,
        published_ms,
        first_failed_ms: notes.first_failed_ms.or(attempts.first_failed_ms),
        suspect: false,
    };
    Record { due_ms: notes.due_ms, incoming }
}

impl Read for Reading<'_> {
    fn begin(&mut self, topic: &str, partition: i32) -> bool {
        let Some(unit) = self.topics.unit(topic, partition) else { return false };
        self.runs.push((unit, Vec::new()));
        true
    }

    fn record(&mut self, raw: Raw) {
        let Raw { offset, payload, key, headers, published_ms } = raw;
        let (message, notes) = record::decode(payload, key, headers);
        self.largest = self.largest.max(message.byte_len());
        if let Some((_, records)) = self.runs.last_mut() {
            records.push(Decoded { offset, published_ms, message, notes });
        }
    }

    fn failed(&mut self, topic: &str, partition: i32, code: RDKafkaErrorCode, text: &str) {
        self.failures.push(Failure { unit: self.topics.unit(topic, partition), code, text: text.to_owned() });
    }
}

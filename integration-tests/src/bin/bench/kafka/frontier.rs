//! What a raw consumer keeps by hand: how far each partition is handled, committed once in a while.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::{Offset, TopicPartitionList};

use super::settings::COMMIT_EVERY;
use crate::Outcome;

pub(super) struct Frontier<'a> {
    topic: &'a str,
    next: BTreeMap<i32, i64>,
    /// The partition of the last record, if any, and what follows it: no map is touched for each record.
    run: Option<(i32, i64)>,
    committed: Instant,
}

impl<'a> Frontier<'a> {
    pub(super) fn new(topic: &'a str) -> Self {
        Self { topic, next: BTreeMap::new(), run: None, committed: Instant::now() }
    }

    pub(super) fn handled(&mut self, partition: i32, offset: i64) {
        match &mut self.run {
            Some((last, next)) if *last == partition => *next = offset + 1,
            run => {
                let ended = run.replace((partition, offset + 1));
                self.next.extend(ended);
            }
        }
    }

    pub(super) fn commit<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>, mode: CommitMode) -> Outcome<()> {
        self.next.extend(self.run.take());
        let mut list = TopicPartitionList::new();
        for (partition, next) in &self.next {
            list.add_partition_offset(self.topic, *partition, Offset::Offset(*next))?;
        }
        self.committed = Instant::now();
        Ok(consumer.commit(&list, mode)?)
    }

    pub(super) fn commit_sometimes<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>) -> Outcome<()> {
        match self.committed.elapsed() < COMMIT_EVERY {
            true => Ok(()),
            false => self.commit(consumer, CommitMode::Async),
        }
    }

    /// Forgets what is committed, since a partition of it may be another member's soon.
    pub(super) fn forget(&mut self) {
        self.next.clear();
    }
}

//! Records that were read and not handed out.

use std::collections::{BTreeMap, VecDeque};

use zephcast_core::driver::Incoming;

use super::{Record, offset_of};

/// The records of a stream go in the order of their offsets, those of a retry topic when they are due.
pub(super) struct Waiting {
    queue: Queue,
    /// Of all messages together.
    bytes: usize,
}

/// What a look at a record that waits says of it.
pub(super) enum Look {
    /// It goes.
    Goes,
    /// It stays; of a retry topic later ones may go.
    Stays,
    /// There is no more room.
    Enough,
}

enum Queue {
    InOrder(VecDeque<Record>),
    /// By due time and offset.
    WhenDue(BTreeMap<(u64, i64), Record>),
}

impl Waiting {
    pub(super) fn new(in_order: bool) -> Self {
        let queue = match in_order {
            true => Queue::InOrder(VecDeque::new()),
            false => Queue::WhenDue(BTreeMap::new()),
        };
        Self { queue, bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        match &self.queue {
            Queue::InOrder(records) => records.len(),
            Queue::WhenDue(records) => records.len(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, record: Record) {
        self.bytes += size(&record);
        match &mut self.queue {
            Queue::InOrder(records) => records.push_back(record),
            Queue::WhenDue(records) => drop(records.insert(key(&record), record)),
        }
    }

    /// The offset of the first.
    pub(super) fn first(&self) -> Option<i64> {
        self.due(u64::MAX).next().map(|record| offset_of(&record.incoming))
    }

    /// What is due by then, in the order in which it goes. All of a stream is.
    pub(super) fn due(&self, by_ms: u64) -> impl Iterator<Item = &Record> {
        let (in_order, when_due) = match &self.queue {
            Queue::InOrder(records) => (Some(records.iter()), None),
            Queue::WhenDue(records) => (None, Some(records.range(..=(by_ms, i64::MAX)))),
        };
        let when_due = when_due.into_iter().flatten().map(|(_, record)| record);
        in_order.into_iter().flatten().chain(when_due)
    }

    /// When the first of those becomes due that are not.
    pub(super) fn next_due(&self, now_ms: u64) -> Option<u64> {
        match &self.queue {
            Queue::InOrder(_) => None,
            Queue::WhenDue(records) => records.range((now_ms + 1, 0)..).next().map(|((due, _), _)| *due),
        }
    }

    /// Takes out what goes: of a stream up to the first record that does not, of a retry topic among those that are due.
    pub(super) fn take(&mut self, now_ms: u64, mut look: impl FnMut(&Record) -> Look) -> Vec<Incoming> {
        let taken: Vec<Incoming> = match &mut self.queue {
            Queue::InOrder(records) => {
                let count = records.iter().take_while(|record| matches!(look(record), Look::Goes)).count();
                records.drain(..count).map(|record| record.incoming).collect()
            }
            Queue::WhenDue(records) => {
                let mut keys = Vec::new();
                for (key, record) in records.range(..=(now_ms, i64::MAX)) {
                    match look(record) {
                        Look::Goes => keys.push(*key),
                        Look::Stays => {}
                        Look::Enough => break,
                    }
                }
                keys.iter().filter_map(|key| records.remove(key)).map(|record| record.incoming).collect()
            }
        };
        self.bytes -= taken.iter().map(|incoming| incoming.message.byte_len()).sum::<usize>();
        taken
    }

    /// Takes out the one at this offset, which for a stream is the first.
    pub(super) fn take_one(&mut self, offset: i64) -> Option<Incoming> {
        let record = match &mut self.queue {
            Queue::InOrder(records) => records.pop_front_if(|record| offset_of(&record.incoming) == offset)?,
            Queue::WhenDue(records) => {
                let found = records.keys().find(|(_, waiting)| *waiting == offset).copied()?;
                records.remove(&found)?
            }
        };
        self.bytes -= size(&record);
        Some(record.incoming)
    }
}

fn size(record: &Record) -> usize {
    record.incoming.message.byte_len()
}

fn key(record: &Record) -> (u64, i64) {
    (record.due_ms.unwrap_or(0), offset_of(&record.incoming))
}

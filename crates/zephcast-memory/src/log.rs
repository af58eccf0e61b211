//! One partition's messages.

use std::collections::VecDeque;

use zephcast_core::Message;

/// A message and when it came.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) message: Message,
    pub(crate) published_ms: u64,
}

impl Record {
    /// What it counts towards retention: its bytes and this note of it, so that empty messages are bounded too.
    fn weight(&self) -> u64 {
        (self.message.byte_len() + size_of::<Self>()) as u64
    }
}

/// How many records a segment has room for: growing never moves what is there, and dropping frees in steps.
const SEGMENT: u64 = 1_024;

/// The records `start..end` of a partition, the oldest dropped beyond a number of bytes.
///
/// The first segment holds from `start` to the next multiple of [`SEGMENT`]; the others are full but for the last.
#[derive(Debug)]
pub(crate) struct Log {
    segments: VecDeque<VecDeque<Record>>,
    start: u64,
    end: u64,
    bytes: u64,
    limit: u64,
}

impl Log {
    pub(crate) fn new(limit: u64) -> Self {
        Self { segments: VecDeque::new(), start: 0, end: 0, bytes: 0, limit }
    }

    /// The offset of the oldest record still there; `end` when there is none.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The offset that the next record gets.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Appends a record and returns its offset.
    pub(crate) fn append(&mut self, record: Record) -> u64 {
        let offset = self.end;
        let (segment, _) = self.locate(offset);
        if segment == self.segments.len() {
            self.segments.push_back(VecDeque::with_capacity(SEGMENT as usize));
        }
        self.bytes += record.weight();
        self.segments[segment].push_back(record);
        self.end += 1;
        while self.bytes > self.limit && self.start + 1 < self.end {
            self.drop_oldest();
        }
        offset
    }

    pub(crate) fn get(&self, offset: u64) -> Option<&Record> {
        if offset < self.start || offset >= self.end {
            return None;
        }
        let (segment, index) = self.locate(offset);
        self.segments.get(segment)?.get(index)
    }

    /// The records from `offset` on, in order; nothing when it was dropped or is not yet there.
    pub(crate) fn read(&self, offset: u64) -> impl Iterator<Item = &Record> {
        let inside = offset >= self.start && offset < self.end;
        let (segment, index) = if inside { self.locate(offset) } else { (self.segments.len(), 0) };
        self.segments
            .iter()
            .skip(segment)
            .enumerate()
            .flat_map(move |(n, records)| records.range(if n == 0 { index.min(records.len()) } else { 0 }..))
    }

    /// The first offset published at or after this time; `end` when there is none.
    pub(crate) fn first_at(&self, published_ms: u64) -> u64 {
        let (mut low, mut high) = (self.start, self.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) {
                Some(record) if record.published_ms >= published_ms => high = middle,
                _ => low = middle + 1,
            }
        }
        low
    }

    /// Drops everything before `offset` and returns how many records that were.
    pub(crate) fn trim(&mut self, offset: u64) -> u64 {
        let before = self.start;
        while self.start < offset.min(self.end) {
            self.drop_oldest();
        }
        self.start - before
    }

    fn drop_oldest(&mut self) {
        let Some(first) = self.segments.front_mut() else { return };
        if let Some(record) = first.pop_front() {
            self.bytes -= record.weight();
            self.start += 1;
        }
        if self.start.is_multiple_of(SEGMENT) {
            self.segments.pop_front();
        }
    }

    /// The segment and the index in it of an offset from `start` on.
    fn locate(&self, offset: u64) -> (usize, usize) {
        let segment = offset / SEGMENT - self.start / SEGMENT;
        let first = if segment == 0 { self.start } else { offset - offset % SEGMENT };
        (segment as usize, (offset - first) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(number: u64, size: usize) -> Record {
        Record { message: Message::new(vec![0; size]).with_key(number.to_string()), published_ms: number / 3 }
    }

    fn number(record: &Record) -> u64 {
        std::str::from_utf8(record.message.key().unwrap()).unwrap().parse().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn is_a_queue_with_offsets(sizes in prop::collection::vec(0_usize..2_000, 1..3_000), limit in 1_u64..3_000_000, trim in 0_u64..3_000) {
            let mut log = Log::new(limit);
            for (n, size) in sizes.iter().enumerate() {
                prop_assert_eq!(log.append(record(n as u64, *size)), n as u64);
                prop_assert!(log.bytes <= limit || log.end - log.start == 1);
            }
            log.trim(trim);
            let weights: u64 = (log.start()..log.end()).map(|n| log.get(n).unwrap().weight()).sum();
            prop_assert_eq!(log.bytes, weights);
            prop_assert!(log.start() >= trim.min(log.end()));
            for from in [log.start(), log.start() + 1_000, log.end()] {
                let read: Vec<_> = log.read(from).map(number).collect();
                prop_assert_eq!(read, (from..log.end()).collect::<Vec<_>>());
            }
            for ms in [0, 100, 500, 2_000] {
                let first = (log.start()..log.end()).find(|n| n / 3 >= ms).unwrap_or(log.end());
                prop_assert_eq!(log.first_at(ms), first);
            }
            prop_assert!(log.get(log.end()).is_none() && log.start().checked_sub(1).is_none_or(|n| log.get(n).is_none()));
        }
    }
}

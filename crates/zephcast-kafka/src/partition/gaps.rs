//! Offsets without a record: of a log that was cut, that is compacted, or that transactions write to.

use std::ops::Range;

use super::Partition;

/// How often a batch that cannot be read is fetched again before it is passed.
const MOST_TRIES: u32 = 3;

impl Partition {
    /// Whether a record with this offset was read before.
    pub(crate) fn is_behind(&self, offset: i64) -> bool {
        offset < self.read
    }

    /// What lies between the last record that was read and this one.
    pub(crate) fn gap_before(&self, offset: i64) -> Option<Range<i64>> {
        (offset > self.read).then_some(self.read..offset)
    }

    /// Nothing is to be read before this offset.
    pub(super) fn pass_to(&mut self, offset: i64) {
        if offset > self.read {
            self.done.insert_run(self.read, offset);
            self.read = offset;
            self.advance(self.next);
            self.version += 1;
        }
    }

    /// Everything before `first` is gone from the log; returns how much of it the group had not settled.
    pub(crate) fn skip_to(&mut self, first: i64) -> u64 {
        let begin = self.read.max(self.next);
        let gone = (first - begin).max(0).unsigned_abs() - self.done.len_within(begin, first);
        self.pass_to(first);
        gone
    }

    /// The library came to this position without finding another record.
    pub(crate) fn nothing_before(&mut self, position: i64) {
        if self.misled.is_none() {
            self.pass_to(position);
        }
    }

    /// An error came instead of a record: the library counts its offset as read, and passes a batch that it cannot read.
    pub(crate) fn mislead(&mut self) {
        let before = self.misled.filter(|(read, _)| *read == self.read).map_or(0, |(_, count)| count);
        self.misled = Some((self.read, before + 1));
    }

    /// Whether what is missing next may be there: an error came instead, and it was not tried often.
    pub(crate) fn may_be_unread(&self) -> bool {
        self.misled.is_some_and(|(read, count)| read == self.read && count <= MOST_TRIES)
    }

    /// Whether what is missing next is there and cannot be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.misled.is_some_and(|(read, count)| read == self.read && count > MOST_TRIES)
    }
}

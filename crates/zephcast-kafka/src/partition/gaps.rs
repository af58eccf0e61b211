//! Offsets without a record: of a log that was cut, that is compacted, or that transactions write to.

use std::ops::Range;

use super::Partition;

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
        if !self.misled {
            self.pass_to(position);
        }
    }

    /// An error came instead of a record: the library counts its offset as read.
    pub(crate) fn mislead(&mut self) {
        self.misled = true;
    }
}

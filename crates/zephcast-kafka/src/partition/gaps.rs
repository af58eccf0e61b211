//! Offsets without a record: of a log that was cut, that is compacted, or that transactions write to.

use std::ops::Range;

use super::Partition;

/// How often a batch that cannot be read is fetched again before it is passed.
const MOST_TRIES: u32 = 3;

/// Offsets that were passed without a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// There is nothing.
    Nothing,
    /// An error came instead, or the library never went to where it was sent: to be fetched again.
    Unread,
    /// It was fetched again in vain.
    Unreadable,
}

/// Whether the library's own position tells what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    /// It does.
    Follows,
    /// An error came instead of a record. The library counts that as read, and all of a batch that it cannot read.
    Erred,
    /// It could not be sent to where it is to read.
    Strayed,
}

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
            self.suspects.remove_run(self.read, offset);
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
        if self.library == Library::Follows {
            self.pass_to(position);
        }
    }

    /// The library was sent back to what was read; whether it went.
    pub(crate) fn sought(&mut self, has: bool) {
        self.library = if has { Library::Follows } else { Library::Strayed };
    }

    /// An error came where the next record was awaited.
    pub(crate) fn erred(&mut self) {
        if self.library == Library::Follows {
            self.library = Library::Erred;
        }
    }

    /// What this gap is.
    pub(crate) fn look_at_gap(&mut self, gap: &Range<i64>) -> Gap {
        match self.library {
            Library::Follows => Gap::Nothing,
            Library::Strayed => Gap::Unread,
            Library::Erred => {
                let tries = if self.tries.0 == gap.start { self.tries.1 + 1 } else { 1 };
                self.tries = (gap.start, tries);
                if tries > MOST_TRIES { Gap::Unreadable } else { Gap::Unread }
            }
        }
    }
}

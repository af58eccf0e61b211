//! How many entries to ask for.

use zephcast_core::driver::Credit;

/// The most entries of one read.
const LONGEST_READ: usize = 500;

/// The server bounds a read by entries and not by bytes. So the first read is of one entry, each next one is at most
/// twice as long as the last one, and messages are taken to be as large as the largest of those that came last. Only
/// where messages become larger all of a sudden a read brings more bytes than there is room for; what does not fit goes
/// back, and the next read knows.
#[derive(Debug)]
pub(super) struct ReadSize {
    limit: usize,
    /// Bytes of a message: follows larger ones at once and smaller ones slowly.
    size: usize,
}

impl ReadSize {
    pub(super) fn new() -> Self {
        Self { limit: 1, size: 1 }
    }

    /// How many entries the next read may bring.
    pub(super) fn count(&self, credit: Credit) -> usize {
        let room = credit.messages.min(credit.bytes / self.size.max(1));
        room.min(self.limit).max(1)
    }

    /// A read brought so many, the largest of which has so many bytes.
    pub(super) fn learn(&mut self, entries: usize, largest: usize) {
        if entries == 0 {
            return;
        }
        self.size = if largest > self.size { largest } else { self.size.midpoint(largest) };
        // A read that brought little says little of what a long one would bring.
        self.limit = (self.limit / 2).max(entries * 2).clamp(1, LONGEST_READ);
    }

    /// The last read took too long for the connection.
    pub(super) fn shorten(&mut self) {
        self.limit = (self.limit / 4).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: Credit = Credit { messages: 2_000, bytes: 16 << 20, suspect: false };

    /// Reads a long backlog of messages of this size; returns the most bytes of one read, and the reads until one was
    /// full.
    fn read(size: &mut ReadSize, bytes: usize) -> (usize, Option<usize>) {
        let counts = (0..40).map(|_| {
            let count = size.count(CREDIT);
            size.learn(count, bytes);
            count
        });
        let counts: Vec<usize> = counts.collect();
        let most = counts.iter().max().copied().unwrap_or(0);
        (most * bytes, counts.iter().position(|count| *count == LONGEST_READ))
    }

    #[test]
    fn reads_grow_to_full_length_and_stay_within_the_room() {
        let (_, full) = read(&mut ReadSize::new(), 200);
        assert!(full.is_some_and(|reads| reads <= 10), "{full:?}");
        for large in [100 << 10, 1 << 20, 12 << 20] {
            assert!(read(&mut ReadSize::new(), large).0 <= CREDIT.bytes, "{large}");
        }
        assert_eq!(read(&mut ReadSize::new(), 100 << 20).0, 100 << 20, "one of them alone");
    }

    #[test]
    fn one_read_after_a_sudden_change_knows() {
        let mut size = ReadSize::new();
        read(&mut size, 200);
        size.learn(LONGEST_READ, 1 << 20);
        assert_eq!(size.count(CREDIT), 16);
        assert!(read(&mut size, 200).1.is_some(), "and small ones are read in full again");
    }

    #[test]
    fn a_trickle_does_not_lengthen_reads() {
        let mut size = ReadSize::new();
        (0..100).for_each(|_| size.learn(1, 200));
        assert_eq!(size.count(CREDIT), 2);
    }
}

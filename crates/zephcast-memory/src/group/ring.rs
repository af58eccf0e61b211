//! Which of the messages handed out for the first time are settled: one bit each.

use std::collections::VecDeque;

use tokio::time::Instant;

/// The offsets below `cursor` that were handed out in order, and which of them are settled.
///
/// Handing out and settling cost a bit each and no allocation once the ring has grown to the window's size.
/// Everything exceptional (a later attempt, a return, an unclean end) leaves the ring for
/// [`Redeliveries`](super::redeliveries::Redeliveries).
#[derive(Debug)]
pub(super) struct Ring {
    /// The offset of the first bit of the first word, a multiple of 64.
    base: u64,
    /// The next offset to hand out.
    cursor: u64,
    /// A set bit is settled, or left the ring. Bits from the cursor on are zero.
    words: VecDeque<u64>,
    /// How many bits below the cursor are zero.
    unsettled: u64,
    /// When the batches with unsettled offsets were handed out, by their first offset.
    batches: VecDeque<(u64, Instant)>,
}

impl Ring {
    pub(super) fn new(cursor: u64) -> Self {
        let mut ring = Self {
            base: cursor - cursor % 64,
            cursor: cursor - cursor % 64,
            words: VecDeque::new(),
            unsettled: 0,
            batches: VecDeque::new(),
        };
        ring.skip_to(cursor);
        ring
    }

    /// The next offset to hand out.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// The lowest offset that is not settled.
    pub(super) fn frontier(&self) -> u64 {
        match self.words.front() {
            Some(word) => (self.base + u64::from(word.trailing_ones())).min(self.cursor),
            None => self.cursor,
        }
    }

    /// Since when the oldest unsettled offset has been out.
    pub(super) fn oldest(&self) -> Option<Instant> {
        if self.unsettled == 0 {
            return None;
        }
        let next = self.batches.partition_point(|(first, _)| *first <= self.frontier());
        next.checked_sub(1).and_then(|n| self.batches.get(n)).map(|(_, at)| *at)
    }

    /// Hands out the next `count` offsets.
    pub(super) fn hand_out(&mut self, count: u64, now: Instant) {
        if count == 0 {
            return;
        }
        self.batches.push_back((self.cursor, now));
        self.cursor += count;
        self.unsettled += count;
        self.grow();
    }

    /// Goes on at `offset` as if everything before it were handed out and settled.
    pub(super) fn skip_to(&mut self, offset: u64) {
        for skipped in self.cursor..offset {
            // Whole words need no bits: nothing before them is out.
            if self.unsettled == 0 && skipped % 64 == 0 && offset - skipped >= 64 {
                self.base = offset - offset % 64;
                self.cursor = self.base;
                self.words.clear();
                return self.skip_to(offset);
            }
            self.cursor = skipped + 1;
            self.grow();
            self.set(skipped);
        }
        self.forget_settled();
    }

    /// Settles an offset; `false` when it is not out.
    pub(super) fn settle(&mut self, offset: u64) -> bool {
        if !self.is_out(offset) {
            return false;
        }
        self.set(offset);
        self.unsettled -= 1;
        true
    }

    /// Whether the offset is handed out and not settled.
    pub(super) fn is_out(&self, offset: u64) -> bool {
        (self.base..self.cursor).contains(&offset) && self.words[word_of(offset, self.base)] & bit_of(offset) == 0
    }

    /// The unsettled offsets from `from` on, in order.
    pub(super) fn out_from(&self, from: u64) -> impl Iterator<Item = u64> {
        (from.max(self.frontier())..self.cursor).filter(|offset| self.is_out(*offset))
    }

    /// Frees what lies before the frontier. To be called after settling, once a batch.
    pub(super) fn forget_settled(&mut self) {
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.base += 64;
        }
        let frontier = self.frontier();
        while self.batches.get(1).is_some_and(|(first, _)| *first <= frontier) {
            self.batches.pop_front();
        }
        if self.unsettled == 0 {
            self.batches.clear();
        }
    }

    fn grow(&mut self) {
        let words = (self.cursor - self.base).div_ceil(64) as usize;
        while self.words.len() < words {
            self.words.push_back(0);
        }
    }

    fn set(&mut self, offset: u64) {
        let word = word_of(offset, self.base);
        self.words[word] |= bit_of(offset);
    }
}

fn word_of(offset: u64, base: u64) -> usize {
    ((offset - base) / 64) as usize
}

fn bit_of(offset: u64) -> u64 {
    1 << (offset % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        HandOut(u64),
        Skip(u64),
        Settle(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0_u64..200).prop_map(Act::HandOut),
            (0_u64..300).prop_map(Act::Skip),
            (0_u64..2_000).prop_map(Act::Settle),
            (0_u64..2_000).prop_map(Act::Settle),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn is_a_set_of_offsets(start in 0_u64..300, acts in prop::collection::vec(act(), 0..60)) {
            let mut ring = Ring::new(start);
            let (mut cursor, mut out) = (start, BTreeSet::new());
            for act in acts {
                match act {
                    Act::HandOut(count) => {
                        ring.hand_out(count, Instant::now());
                        out.extend(cursor..cursor + count);
                        cursor += count;
                    }
                    Act::Skip(count) => {
                        cursor += count;
                        ring.skip_to(cursor);
                    }
                    Act::Settle(back) => {
                        // Low offsets come up often, so that the frontier moves.
                        let offset = out.iter().nth(back as usize % 5).copied().unwrap_or(cursor.saturating_sub(back));
                        prop_assert_eq!(ring.settle(offset), out.remove(&offset));
                        ring.forget_settled();
                    }
                }
                prop_assert_eq!(ring.cursor(), cursor);
                prop_assert_eq!(ring.unsettled(), out.len() as u64);
                prop_assert_eq!(ring.frontier(), out.first().copied().unwrap_or(cursor));
                prop_assert_eq!(ring.oldest().is_some(), !out.is_empty());
                prop_assert!(ring.out_from(0).eq(out.iter().copied()));
            }
        }
    }

    #[test]
    fn the_oldest_is_the_batch_of_the_frontier() {
        let mut ring = Ring::new(10);
        let first = Instant::now();
        let second = first + std::time::Duration::from_secs(1);
        ring.hand_out(2, first);
        ring.hand_out(2, second);
        ring.settle(11);
        ring.settle(12);
        ring.forget_settled();
        assert_eq!(ring.oldest(), Some(first));
        ring.settle(10);
        ring.forget_settled();
        assert_eq!(ring.oldest(), Some(second));
    }
}

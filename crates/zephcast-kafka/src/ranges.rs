//! Sets of offsets as runs.

use std::collections::BTreeMap;

/// A set of offsets, kept as runs of neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    /// By its first offset, the offset after each run. Runs neither overlap nor touch.
    runs: BTreeMap<i64, i64>,
}

impl Ranges {
    /// How many offsets there are from `first` to before `after`.
    pub(crate) fn len_within(&self, first: i64, after: i64) -> u64 {
        let within = |(from, to): (i64, i64)| u64::try_from(to.min(after).saturating_sub(from.max(first))).unwrap_or(0);
        self.runs().map(within).sum()
    }

    pub(crate) fn contains(&self, offset: i64) -> bool {
        self.runs.range(..=offset).next_back().is_some_and(|(_, after)| offset < *after)
    }

    pub(crate) fn insert(&mut self, offset: i64) {
        self.insert_run(offset, offset + 1);
    }

    /// Adds the offsets from `first` to before `after`.
    pub(crate) fn insert_run(&mut self, mut first: i64, mut after: i64) {
        if first >= after {
            return;
        }
        if let Some((known, end)) = self.runs.range(..=first).next_back().map(|(known, end)| (*known, *end))
            && end >= first
        {
            first = known;
            after = after.max(end);
        }
        while let Some((next, end)) = self.runs.range(first..=after).next().map(|(next, end)| (*next, *end)) {
            self.runs.remove(&next);
            after = after.max(end);
        }
        self.runs.insert(first, after);
    }

    /// Removes the offsets from `first` to before `after`.
    pub(crate) fn remove_run(&mut self, first: i64, after: i64) {
        while let Some((known, end)) = self.runs.range(..after).next_back().map(|(known, end)| (*known, *end)) {
            if end <= first {
                break;
            }
            self.runs.remove(&known);
            if end > after {
                self.runs.insert(after, end);
            }
            if known < first {
                self.runs.insert(known, first);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The offset after the last one.
    pub(crate) fn end(&self) -> Option<i64> {
        self.runs.last_key_value().map(|(_, after)| *after)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len_within(i64::MIN, i64::MAX)
    }

    /// Removes everything before `offset`, and the run that begins there; returns where the next offset is that is not
    /// in the set.
    pub(crate) fn pass(&mut self, offset: i64) -> i64 {
        let mut reached = offset;
        while let Some(run) = self.runs.first_entry() {
            if *run.key() > reached {
                break;
            }
            reached = reached.max(run.remove());
        }
        reached
    }

    /// Each run: its first offset and the one after it.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (i64, i64)> {
        self.runs.iter().map(|(first, after)| (*first, *after))
    }
}

impl FromIterator<i64> for Ranges {
    fn from_iter<T: IntoIterator<Item = i64>>(offsets: T) -> Self {
        let mut ranges = Self::default();
        offsets.into_iter().for_each(|offset| ranges.insert(offset));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_removed_is_gone(
            offsets in prop::collection::vec(0_i64..60, 0..60), first in 0_i64..60, after in 0_i64..70,
        ) {
            let mut ranges: Ranges = offsets.iter().copied().collect();
            ranges.remove_run(first, after);
            let left = |offset: i64| offsets.contains(&offset) && !(first..after).contains(&offset);
            prop_assert!((0..60).all(|offset| ranges.contains(offset) == left(offset)), "{:?}", ranges);
            prop_assert_eq!(ranges.end(), (0..60).rev().find(|offset| left(*offset)).map(|last| last + 1));
            prop_assert_eq!((ranges.len(), ranges.is_empty()), (ranges.runs().map(|(from, to)| (to - from) as u64).sum(), (0..60).all(|offset| !left(offset))));
        }

        #[test]
        fn behaves_as_a_set(offsets in prop::collection::vec(0_i64..60, 0..60), from in 0_i64..60) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for offset in offsets {
                ranges.insert(offset);
                model.insert(offset);
            }
            prop_assert_eq!(ranges.len_within(0, 60), model.len() as u64);
            prop_assert!((0..60).all(|offset| ranges.contains(offset) == model.contains(&offset)));
            prop_assert_eq!(ranges.len_within(from, 50), model.range(from.min(50)..50).count() as u64);
            let runs: Vec<_> = ranges.runs().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", runs);
            let reached = ranges.pass(from);
            let expected = (from..).find(|offset| !model.contains(offset)).unwrap_or(from);
            prop_assert_eq!(reached, expected);
            prop_assert!((0..60).all(|offset| ranges.contains(offset) == (offset > reached && model.contains(&offset))));
        }
    }
}

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
        let within = |(from, to): (i64, i64)| u64::try_from(to.min(after) - from.max(first)).unwrap_or(0);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
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

//! The table of all promises. One file for a few promises that belong together.

mod browsing;
mod bytes;
mod closing;
mod confirmed;
mod dead_letters;
mod dropped;
mod flow;
mod given_up;
mod groups;
mod killers;
mod leases;
mod membership;
mod moving;
mod order;
mod recovery;
mod retry;
mod settling;
mod shutdown;
mod sight;
mod storm;

use crate::Case;

/// Every case, in the order of the promises.
pub fn cases() -> impl Iterator<Item = Case> {
    let mut all: Vec<Case> = [
        confirmed::CASES,
        groups::CASES,
        moving::CASES,
        settling::CASES,
        dropped::CASES,
        given_up::CASES,
        bytes::CASES,
        order::CASES,
        retry::CASES,
        dead_letters::CASES,
        killers::CASES,
        membership::CASES,
        storm::CASES,
        leases::CASES,
        flow::CASES,
        shutdown::CASES,
        closing::CASES,
        recovery::CASES,
        sight::CASES,
        browsing::CASES,
    ]
    .concat();
    // `D10` comes after `D9`.
    all.sort_by_key(|case| {
        let (letter, number) = case.promise.split_at(1);
        ("DFMSRV".find(letter), number.parse::<u32>().ok())
    });
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn titles_are_unique() {
        let titles: BTreeSet<_> = cases().map(|case| case.title()).collect();
        assert_eq!(titles.len(), cases().count());
    }

    #[test]
    fn every_promise_has_a_case() {
        let proved: BTreeSet<_> = cases().map(|case| case.promise).collect();
        let counts = [("D", 10), ("F", 6), ("M", 5), ("S", 4), ("R", 3), ("V", 4)];
        for (letter, count) in counts {
            for number in 1..=count {
                assert!(proved.contains(format!("{letter}{number}").as_str()), "{letter}{number} has no case");
            }
        }
    }
}

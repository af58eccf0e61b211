//! Who gets which units: evenly, and with as little movement as possible.

use zephcast_core::UnitId;

/// What is to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Free units and the member, by index, that gets them.
    pub(super) give: Vec<(usize, UnitId)>,
    /// Units that a member, by index, has beyond its share.
    pub(super) take: Vec<(usize, UnitId)>,
}

/// Plans for members in the order in which they joined, each with the units that it has and keeps for now.
///
/// `total` counts all units, also those on their way from one member to another. The shares differ by one at most; the
/// larger ones go to who has most already.
pub(super) fn plan(total: usize, members: &[Vec<UnitId>], free: &[UnitId]) -> Plan {
    let mut plan = Plan::default();
    if members.is_empty() {
        return plan;
    }
    let mut by_wealth: Vec<usize> = (0..members.len()).collect();
    by_wealth.sort_by_key(|member| std::cmp::Reverse(members[*member].len()));
    let mut share = vec![total / members.len(); members.len()];
    for member in by_wealth.into_iter().take(total % members.len()) {
        share[member] += 1;
    }
    for (member, units) in members.iter().enumerate() {
        plan.take.extend(units.iter().skip(share[member]).map(|unit| (member, *unit)));
    }
    let mut wants: Vec<usize> =
        members.iter().zip(&share).map(|(units, share)| share.saturating_sub(units.len())).collect();
    for unit in free {
        // The first of those that lack most.
        let neediest = (0..members.len()).max_by_key(|member| (wants[*member], std::cmp::Reverse(*member)));
        if let Some(member) = neediest.filter(|member| wants[*member] > 0) {
            wants[member] -= 1;
            plan.give.push((member, *unit));
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(numbers: impl IntoIterator<Item = u32>) -> Vec<UnitId> {
        numbers.into_iter().map(UnitId).collect()
    }

    #[test]
    fn the_first_member_gets_all_and_gives_half_to_the_second() {
        let first = plan(4, &[vec![]], &units(0..4));
        assert_eq!(first.give.len(), 4);
        let second = plan(4, &[units(0..4), vec![]], &[]);
        assert_eq!(second.take, [(0, UnitId(2)), (0, UnitId(3))]);
        let third = plan(4, &[units(0..2), vec![]], &units(2..4));
        assert_eq!(third, Plan { give: vec![(1, UnitId(2)), (1, UnitId(3))], take: vec![] });
    }

    #[test]
    fn one_member_too_many_stays_idle_and_nothing_moves() {
        assert_eq!(plan(2, &[units([0]), units([1]), vec![]], &[]), Plan::default());
    }

    proptest! {
        #[test]
        fn shares_are_even_and_nothing_moves_without_need(owners in prop::collection::vec(0_usize..6, 0..40), count in 1_usize..6) {
            // Owner 5, or one who is gone, means free.
            let mut members = vec![vec![]; count];
            let mut free = vec![];
            for (unit, owner) in owners.iter().enumerate() {
                members.get_mut(*owner).unwrap_or(&mut free).push(UnitId(unit as u32));
            }
            let before = members.clone();
            let plan = plan(owners.len(), &members, &free);
            for (member, unit) in &plan.take {
                members[*member].retain(|u| u != unit);
                free.push(*unit);
            }
            for (member, unit) in &plan.give {
                prop_assert!(!plan.take.contains(&(*member, *unit)));
                members[*member].push(*unit);
                free.retain(|u| u != unit);
            }
            // What was taken is given once it is free.
            for (member, unit) in super::plan(owners.len(), &members, &free).give {
                members[member].push(unit);
            }
            let (least, most) = (owners.len() / count, owners.len().div_ceil(count));
            for (now, before) in members.iter().zip(&before) {
                prop_assert!((least..=most).contains(&now.len()));
                let lost = before.iter().filter(|unit| !now.contains(unit)).count();
                prop_assert!(lost <= before.len().saturating_sub(least));
                prop_assert!(lost == 0 || now.len() <= before.len());
            }
        }
    }
}

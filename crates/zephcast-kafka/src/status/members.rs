//! The members of a group: what its coordinator knows of them, and what ours say of themselves in what they commit.

use std::collections::BTreeMap;
use std::time::Duration;

use zephcast_core::{MemberName, MemberState, MemberStatus, UnitId};

use super::seen::Seen;
use crate::native::{GroupMember, Partition};

/// The members of a group, by what they have.
pub(super) struct Roster(Vec<Entry>);

struct Entry {
    name: MemberName,
    /// The units of the stream.
    units: Vec<UnitId>,
    /// Each partition with what the member has in flight there; none where it does not say.
    partitions: BTreeMap<Partition, Option<u64>>,
    /// For how long something has been in flight.
    busy: Option<Duration>,
    /// For how long it has been at what it began first.
    oldest: Option<Duration>,
    lease: Option<Duration>,
}

impl Roster {
    pub(super) fn new(seen: &Seen, stream: &str, now_ms: u64) -> Self {
        let all = &seen.description.members;
        // A group may consume other streams too, with members of their own.
        let is_here = |member: &&GroupMember| {
            member.partitions.is_empty() || member.partitions.iter().any(|known| seen.standings.contains_key(known))
        };
        let members = all.iter().filter(is_here);
        Self(members.map(|member| Entry::new(seen, member, all, stream, now_ms)).collect())
    }

    pub(super) fn owner(&self, partition: &Partition) -> Option<&MemberName> {
        self.0.iter().find(|entry| entry.partitions.contains_key(partition)).map(|entry| &entry.name)
    }

    /// What all members have in flight in these topics; none if one of them does not say.
    pub(super) fn in_flight(&self, is_meant: impl Fn(&str) -> bool) -> Option<u64> {
        let partitions = self.0.iter().flat_map(|entry| &entry.partitions);
        partitions.filter(|((topic, _), _)| is_meant(topic)).map(|(_, in_flight)| *in_flight).sum()
    }

    /// For how long something has been in flight.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.0.iter().filter_map(|entry| entry.busy).max()
    }

    pub(super) fn into_statuses(self) -> Vec<MemberStatus> {
        self.0.into_iter().map(Entry::into_status).collect()
    }
}

impl Entry {
    fn new(seen: &Seen, member: &GroupMember, all: &[GroupMember], stream: &str, now_ms: u64) -> Self {
        let mut entry = Self {
            name: name(member, all),
            units: Vec::new(),
            partitions: BTreeMap::new(),
            busy: None,
            oldest: None,
            lease: None,
        };
        // Where one of ours never committed anything, nothing was handed out yet; a foreign one may not commit at all.
        let is_ours =
            member.partitions.iter().any(|known| seen.standings.get(known).is_some_and(|known| known.is_ours));
        for partition in &member.partitions {
            if partition.0 == stream {
                entry.units.push(UnitId(partition.1.cast_unsigned()));
            }
            let Some(standing) = seen.standings.get(partition) else { continue };
            let place = standing.place.as_ref();
            let in_flight = match (standing.is_ours, place) {
                (true, Some(place)) => Some(place.in_flight),
                (_, None) if is_ours => Some(0),
                _ => None,
            };
            entry.partitions.insert(partition.clone(), in_flight);
            if let Some(place) = place.filter(|place| standing.is_ours && place.in_flight > 0) {
                let age = |ms| Duration::from_millis(now_ms.saturating_sub(ms));
                entry.oldest = entry.oldest.max(place.oldest_ms.map(age));
                entry.busy = entry.busy.max(place.busy_since_ms.map(age));
            }
            entry.lease = entry.lease.or(place.and_then(|place| place.lease_ms).map(Duration::from_millis));
        }
        entry.units.sort_unstable();
        entry
    }

    /// The coordinator throws dead members out by itself.
    fn into_status(self) -> MemberStatus {
        let state = match (self.oldest, self.lease) {
            (Some(oldest), Some(lease)) if oldest > lease => MemberState::Stuck,
            _ => MemberState::Active,
        };
        MemberStatus {
            name: self.name,
            state,
            units: self.units,
            in_flight: self.partitions.into_values().sum(),
            // Kafka hands out whatever is asked for.
            prefetch: None,
            settled: None,
            idle: None,
            oldest_delivery: self.oldest,
            lease: self.lease,
        }
    }
}

/// Its client id, with what tells it from others of the same.
pub(crate) fn name(member: &GroupMember, all: &[GroupMember]) -> MemberName {
    let GroupMember { client_id, member_id, .. } = member;
    let is_alone = all.iter().filter(|other| other.client_id == *client_id).count() == 1;
    let name = match (client_id.is_empty(), is_alone) {
        (false, true) => client_id.clone(),
        (false, false) if !member_id.starts_with(client_id.as_str()) => format!("{client_id}-{member_id}"),
        _ => member_id.clone(),
    };
    readable(&name)
}

/// A foreign member may have a name that no member of ours can have.
fn readable(name: &str) -> MemberName {
    let replace = |c: char| if c.is_alphanumeric() || "-._:@+=".contains(c) { c } else { '_' };
    let cleaned = || name.chars().take(64).map(replace).collect::<String>();
    MemberName::new(name).or_else(|_| MemberName::new(cleaned())).unwrap_or_else(|_| MemberName::unique())
}

#[cfg(test)]
mod tests {
    use super::super::seen::Standing;
    use super::*;
    use crate::native::GroupDescription;
    use crate::place::Place;

    fn member(client_id: &str, member_id: &str, partitions: &[i32]) -> GroupMember {
        let partitions = partitions.iter().map(|partition| ("orders".to_owned(), *partition)).collect();
        GroupMember { client_id: client_id.into(), member_id: member_id.into(), partitions }
    }

    fn place(in_flight: u64, oldest_ms: u64, lease_ms: u64) -> Place {
        Place {
            in_flight,
            busy_since_ms: Some(oldest_ms),
            oldest_ms: Some(oldest_ms),
            lease_ms: Some(lease_ms),
            ..Place::at(0)
        }
    }

    fn roster(members: Vec<GroupMember>, places: Vec<Option<(bool, Place)>>) -> Roster {
        let standing = |(partition, known): (usize, Option<(bool, Place)>)| {
            let is_ours = known.as_ref().is_some_and(|(is_ours, _)| *is_ours);
            let place = known.map(|(_, place)| place);
            (("orders".to_owned(), partition as i32), Standing { place, is_ours, begin: 0, end: 100 })
        };
        let seen = Seen {
            description: GroupDescription { name: "g".into(), rebalances: false, members },
            partitions: places.len() as u32,
            standings: places.into_iter().enumerate().map(standing).collect(),
            is_complete: true,
            dead: Some(0),
        };
        Roster::new(&seen, "orders", 10_000)
    }

    #[test]
    fn a_member_that_holds_on_for_longer_than_its_lease_is_stuck() {
        let places = vec![Some((true, place(1, 9_500, 1_000))), Some((true, place(2, 8_000, 1_000)))];
        let roster = roster(vec![member("a", "a-1", &[0]), member("b", "b-1", &[1])], places);
        assert_eq!(roster.in_flight(|_| true), Some(3));
        assert_eq!(roster.oldest(), Some(Duration::from_millis(2_000)));
        assert_eq!(roster.owner(&("orders".into(), 1)).unwrap().as_str(), "b");
        let statuses = roster.into_statuses();
        assert_eq!(
            statuses.iter().map(|status| status.state).collect::<Vec<_>>(),
            [MemberState::Active, MemberState::Stuck]
        );
        assert_eq!(statuses[1].in_flight, Some(2));
        assert_eq!(statuses[1].units, [UnitId(1)]);
    }

    #[test]
    fn what_a_foreign_member_has_in_flight_is_not_known() {
        let roster = roster(vec![member("a", "a-1", &[0, 1])], vec![Some((false, Place::at(7))), None]);
        assert_eq!(roster.in_flight(|_| true), None);
        assert_eq!(roster.into_statuses()[0].in_flight, None);
    }

    #[test]
    fn a_foreign_member_beside_one_of_ours_is_not_taken_for_one() {
        let places = vec![Some((true, place(2, 1, 1))), None];
        let roster = roster(vec![member("a", "a-1", &[0]), member("b", "b-1", &[1])], places);
        let in_flight: Vec<_> = roster.into_statuses().into_iter().map(|status| status.in_flight).collect();
        assert_eq!(in_flight, [Some(2), None]);
    }

    #[test]
    fn a_member_of_ours_has_nothing_in_flight_where_it_committed_nothing() {
        let roster = roster(vec![member("a", "a-1", &[0, 1])], vec![Some((true, place(2, 1, 1))), None]);
        assert_eq!(roster.in_flight(|_| true), Some(2));
    }

    #[test]
    fn members_for_other_streams_are_not_shown() {
        let mut elsewhere = member("a", "a-1", &[]);
        elsewhere.partitions = vec![("shop".into(), 0)];
        let roster = roster(vec![elsewhere, member("b", "b-1", &[])], vec![Some((true, place(0, 1, 1)))]);
        let names: Vec<_> = roster.into_statuses().iter().map(|status| status.name.to_string()).collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn members_of_one_client_id_are_told_apart() {
        let all = [member("rdkafka", "rdkafka-1", &[]), member("rdkafka", "2", &[]), member("a b", "x", &[])];
        let names: Vec<_> = all.iter().map(|member| name(member, &all).to_string()).collect();
        assert_eq!(names, ["rdkafka-1", "rdkafka-2", "a_b"]);
    }
}

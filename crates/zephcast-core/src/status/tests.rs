use super::*;

/// What a look at a group saw: what was ever published, its lag, its committed position, and its members.
#[derive(Clone, Copy)]
struct Look {
    published: Option<u64>,
    lag: Option<u64>,
    committed: &'static str,
    members: &'static [MemberState],
}

impl Look {
    fn status(self) -> GroupStatus {
        let member = |(n, state): (usize, &MemberState)| MemberStatus {
            name: MemberName::new(format!("m{n}")).unwrap(),
            state: *state,
            units: Vec::new(),
            in_flight: None,
            prefetch: None,
            settled: None,
            idle: None,
            oldest_delivery: Some(Duration::from_millis(1_234)),
            lease: None,
        };
        let unit = UnitStatus {
            unit: UnitId(0),
            committed: Some(self.committed.to_owned()),
            end: None,
            lag: self.lag,
            owner: None,
        };
        GroupStatus {
            published: self.published,
            lag: self.lag,
            in_flight: Some(0),
            members: self.members.iter().enumerate().map(member).collect(),
            units: vec![unit],
            ..GroupStatus::new(StreamName::new("orders").unwrap(), GroupName::new("billing").unwrap(), Broker::Memory)
        }
    }
}

const NOBODY: &[MemberState] = &[];
const ONE: &[MemberState] = &[MemberState::Active];
const DEAD: &[MemberState] = &[MemberState::Dead];
const STUCK: &[MemberState] = &[MemberState::Active, MemberState::Stuck];

fn look(lag: u64, committed: &'static str, members: &'static [MemberState]) -> Look {
    Look { published: None, lag: Some(lag), committed, members }
}

/// Where the broker counts, the position does not matter.
fn counted(published: u64, lag: u64, committed: &'static str) -> Look {
    Look { published: Some(published), ..look(lag, committed, ONE) }
}

#[test]
fn two_looks_are_judged_by_the_progress_between_them() {
    let unknown = Look { lag: None, ..look(0, "5", ONE) };
    let table = [
        (look(3, "1", NOBODY), look(0, "4", NOBODY), GroupState::Empty, "no member and nothing to do"),
        (look(0, "4", DEAD), look(0, "4", DEAD), GroupState::Empty, "no member and nothing to do"),
        (look(0, "4", ONE), look(0, "4", ONE), GroupState::Ok, "nothing to do"),
        (unknown, unknown, GroupState::Stalled, "lag unknown then unknown, nothing settled"),
        (unknown, Look { committed: "6", ..unknown }, GroupState::Ok, "lag unknown then unknown"),
        (counted(10, 9, "1"), counted(20, 12, "1"), GroupState::Lagging, "lag grew from 9 to 12"),
        (counted(10, 9, "1"), counted(13, 12, "5"), GroupState::Stalled, "lag 9 then 12, nothing settled"),
        (counted(10, 9, "1"), counted(20, 9, "1"), GroupState::Ok, "lag 9 then 9"),
        (look(9, "1", ONE), look(5, "5", ONE), GroupState::Ok, "lag 9 then 5"),
        // Some are settled above an unfinished head: the committed position stands still, and yet there is less to do.
        (look(9, "1", ONE), look(8, "1", ONE), GroupState::Ok, "lag 9 then 8"),
        // As much was published as was settled.
        (look(9, "1", ONE), look(9, "5", ONE), GroupState::Ok, "lag 9 then 9"),
        (look(9, "1", ONE), look(12, "5", ONE), GroupState::Lagging, "lag grew from 9 to 12"),
        (look(0, "1", ONE), look(1, "5", ONE), GroupState::Lagging, "lag grew from 0 to 1"),
        (look(9, "1", ONE), look(12, "1", ONE), GroupState::Stalled, "lag 9 then 12, nothing settled"),
        (look(9, "1", ONE), look(9, "1", ONE), GroupState::Stalled, "lag 9 then 9, nothing settled"),
        (look(9, "1", NOBODY), look(9, "1", DEAD), GroupState::Stalled, "lag 9 then 9, nothing settled"),
        // A stuck member says more than any progress of the others.
        (look(9, "1", ONE), look(5, "5", STUCK), GroupState::Stuck, "m1 holds a delivery for 1234 ms"),
        (look(9, "1", ONE), look(0, "9", STUCK), GroupState::Stuck, "m1 holds a delivery for 1234 ms"),
    ];
    for (earlier, now, state, evidence) in table {
        let judgement = now.status().judge_since(&earlier.status());
        assert_eq!(judgement, Judgement { state, evidence: evidence.to_owned() });
    }
}

#[test]
fn what_members_say_that_they_settled_is_progress() {
    let with = |lag, settled: &[(&str, Option<u64>)]| {
        let mut status = look(lag, "1", &[MemberState::Active; 2][..settled.len()]).status();
        for (member, (name, settled)) in status.members.iter_mut().zip(settled) {
            (member.name, member.settled) = (MemberName::new(*name).unwrap(), *settled);
        }
        status
    };
    let judged = |before: &[_], lag, now: &[_]| with(lag, now).judge_since(&with(9, before)).state;
    assert_eq!(judged(&[("a", Some(5))], 9, &[("a", Some(6))]), GroupState::Ok);
    assert_eq!(judged(&[("a", Some(5))], 12, &[("a", Some(6))]), GroupState::Lagging);
    assert_eq!(judged(&[("a", Some(5))], 12, &[("a", Some(5))]), GroupState::Stalled);
    assert_eq!(judged(&[("a", Some(5)), ("b", None)], 9, &[("b", None), ("a", Some(5))]), GroupState::Stalled);
    assert_eq!(judged(&[("a", Some(5))], 9, &[("a", Some(1))]), GroupState::Ok, "it began anew");
    assert_eq!(judged(&[("a", Some(5))], 9, &[("b", Some(1)), ("a", Some(5))]), GroupState::Ok, "it is new");
    assert_eq!(judged(&[("a", Some(5))], 9, &[("b", Some(0)), ("a", Some(5))]), GroupState::Stalled);
    assert_eq!(judged(&[("a", None)], 9, &[("a", Some(5))]), GroupState::Stalled, "it did not answer");
    let mut incomplete = with(9, &[]);
    incomplete.in_flight = None;
    assert_eq!(
        with(9, &[("a", Some(5))]).judge_since(&incomplete).state,
        GroupState::Stalled,
        "it may have been there"
    );
}

#[test]
fn members_of_other_programs_are_given_the_time_in_which_they_commit() {
    let earlier = counted(10, 9, "1").status();
    let judged = |seconds: f32, members| {
        let mut now = Look { members, ..counted(13, 12, "1") }.status();
        (now.in_flight, now.looked_at) = (None, earlier.looked_at + Duration::from_secs_f32(seconds));
        let judgement = now.judge_since(&earlier);
        (judgement.state, judgement.evidence)
    };
    assert_eq!(judged(2.0, ONE), (GroupState::Ok, "lag 9 then 12, nothing committed in 2.0s; look for longer".into()));
    assert_eq!(judged(6.0, ONE), (GroupState::Stalled, "lag 9 then 12, nothing settled".into()));
    assert_eq!(judged(2.0, NOBODY).0, GroupState::Stalled);
}

#[test]
fn who_is_at_work_and_does_not_say_what_it_settles_is_not_taken_for_nobody() {
    let seen = |lag: Option<u64>, in_flight, idle: Option<u64>| {
        let mut status = Look { lag, ..look(0, "1", ONE) }.status();
        (status.units[0].committed, status.in_flight) = (None, in_flight);
        status.members[0].idle = idle.map(Duration::from_secs);
        status
    };
    let judged = |before, now, idle| {
        let judgement = seen(Some(now), Some(3), idle).judge_since(&seen(Some(before), Some(3), None));
        (judgement.state, judgement.evidence)
    };
    let unknown = "lag 9 then 9, and nobody knows what is settled".to_owned();
    assert_eq!(judged(9, 9, None), (GroupState::Ok, unknown));
    assert_eq!(judged(9, 12, None), (GroupState::Lagging, "lag grew from 9 to 12".to_owned()));
    assert_eq!(judged(9, 12, Some(7)).0, GroupState::Stalled, "it does nothing");
    let nothing_known = GroupStatus { members: Vec::new(), ..seen(None, None, None) };
    assert_eq!(nothing_known.judge_since(&nothing_known).state, GroupState::Ok);
}

#[test]
fn a_group_that_waits_for_another_attempt_is_well() {
    let judged = |lag, delayed, members| {
        let status = GroupStatus { delayed: Some(delayed), ..look(lag, "1", members).status() };
        status.judge_since(&status.clone()).state
    };
    assert_eq!(judged(3, 3, ONE), GroupState::Ok);
    assert_eq!(judged(4, 3, ONE), GroupState::Stalled);
    assert_eq!(judged(3, 3, NOBODY), GroupState::Stalled, "nobody will take them");
}

#[test]
fn rates_are_what_was_published_and_settled_a_second() {
    let (mut earlier, mut now) = (counted(10, 9, "1").status(), counted(30, 19, "1").status());
    now.looked_at = earlier.looked_at + Duration::from_secs(4);
    assert_eq!(now.rates_since(&earlier), Rates { published: Some(5.0), settled: Some(2.5) });
    assert_eq!(earlier.rates_since(&earlier), Rates { published: None, settled: None }, "no time has passed");
    now.lag = None;
    assert_eq!(now.rates_since(&earlier), Rates { published: Some(5.0), settled: None });
    earlier.published = None;
    assert_eq!(now.rates_since(&earlier), Rates { published: None, settled: None });
}

#[test]
fn one_look_tells_no_progress() {
    let table = [
        (look(0, "4", NOBODY), GroupState::Empty, "no member and nothing to do"),
        (look(0, "4", ONE), GroupState::Ok, "nothing to do"),
        (look(7, "4", ONE), GroupState::Ok, "lag 7, one look"),
        (look(7, "4", NOBODY), GroupState::Stalled, "lag 7 and no member"),
        (look(7, "4", DEAD), GroupState::Stalled, "lag 7 and no member"),
        (look(7, "4", STUCK), GroupState::Stuck, "m1 holds a delivery for 1234 ms"),
    ];
    for (look, state, evidence) in table {
        assert_eq!(look.status().judge(), Judgement { state, evidence: evidence.to_owned() });
    }
}

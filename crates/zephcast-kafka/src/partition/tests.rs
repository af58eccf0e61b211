mod retries;

use proptest::prelude::*;
use zephcast_core::driver::Credit;
use zephcast_core::{Message, UnitId};

use super::reach::{Ahead, LONGEST_REACH, SHORTEST_REACH};
use super::*;

const ROOM: Credit = Credit { messages: 1_000, bytes: 1 << 20, suspect: false };

impl Partition {
    fn token(&self, offset: i64) -> Token {
        Token(offset.unsigned_abs(), self.assignment)
    }
}

/// The place of an owner that died when everything before `until` may have been out.
fn uncertain(until: i64) -> Place {
    Place { out: (0..until).collect(), ..Place::at(0) }
}

fn ahead(partition: &Partition) -> &Ahead {
    match &partition.reach {
        Reach::Ahead(ahead) => ahead,
        Reach::Named(_) => panic!("a retry topic"),
    }
}

/// A partition that stands at `next`, with a durable place.
fn fresh(next: i64) -> Partition {
    let mut partition = Partition::new(1, true, Place::at(next));
    commit(&mut partition);
    partition
}

fn commit(partition: &mut Partition) -> Place {
    commit_at(partition, 0)
}

fn commit_at(partition: &mut Partition, now_ms: u64) -> Place {
    let snapshot = partition.snapshot(None, 1_000, now_ms);
    partition.committed(&snapshot);
    snapshot.place
}

fn read(partition: &mut Partition, offset: i64) -> bool {
    read_due(partition, offset, None)
}

fn read_due(partition: &mut Partition, offset: i64, due_ms: Option<u64>) -> bool {
    let wanted = partition.wants(offset);
    if wanted {
        let token = Token(offset.unsigned_abs(), 0);
        let incoming = Incoming {
            token,
            origin: (UnitId(0), token),
            message: Message::new("x"),
            attempt: 1,
            redelivered: false,
            published_ms: None,
            first_failed_ms: None,
            suspect: false,
        };
        partition.push(Record { due_ms, incoming });
    }
    wanted
}

fn out(partition: &mut Partition) -> Vec<i64> {
    partition.hand_out(ROOM, 0, false).iter().map(offset_of).collect()
}

fn ack(partition: &mut Partition, frontier: Option<i64>, offsets: &[i64]) {
    let tokens: Vec<Token> = offsets.iter().map(|offset| partition.token(*offset)).collect();
    let frontier = frontier.map(|offset| partition.token(offset));
    assert!(partition.ack(frontier, &tokens).is_empty());
}

#[test]
fn the_place_waits_for_the_slow_one_and_remembers_what_is_done_beyond() {
    let mut partition = fresh(10);
    (10..15).for_each(|offset| assert!(read(&mut partition, offset)));
    assert_eq!(out(&mut partition), [10, 11, 12, 13, 14]);
    ack(&mut partition, None, &[12, 13]);
    let place = commit(&mut partition);
    assert_eq!((place.next, place.in_flight), (10, 3));
    assert!(place.done.contains(12) && place.done.contains(13) && !place.done.contains(14));

    // The next owner does not get them again.
    let mut heir = Partition::new(2, true, Place { out: Ranges::default(), ..place });
    commit(&mut heir);
    (10..15).for_each(|offset| assert_eq!(read(&mut heir, offset), offset != 12 && offset != 13));
    assert_eq!(out(&mut heir), [10, 11, 14]);
    ack(&mut heir, Some(11), &[10, 11]);
    assert_eq!(commit(&mut heir).next, 14);
}

#[test]
fn attempts_of_a_settled_record_are_nobody_elses() {
    let mut partition = fresh(7);
    assert!(read(&mut partition, 7));
    assert_eq!(out(&mut partition), [7]);
    ack(&mut partition, Some(7), &[7]);
    assert!(partition.keep(Token(7, 1), Attempts { count: 2, first_failed_ms: Some(1) }));
    assert_eq!(Place::read(8, &commit(&mut partition).write(4_096)).attempts, BTreeMap::new());
}

#[test]
fn what_does_not_exist_is_not_waited_for() {
    let mut partition = fresh(0);
    for offset in [3, 4, 9] {
        assert!(read(&mut partition, offset));
    }
    assert_eq!(commit(&mut partition).next, 3);
    assert_eq!(out(&mut partition), [3, 4, 9]);
    ack(&mut partition, None, &[9]);
    assert_eq!(commit(&mut partition).next, 3);
    ack(&mut partition, Some(9), &[3, 4]);
    assert_eq!(commit(&mut partition).next, 10);
}

#[test]
fn a_record_that_comes_twice_is_taken_once() {
    let mut partition = fresh(0);
    assert!(read(&mut partition, 0) && read(&mut partition, 1));
    assert!(!read(&mut partition, 0) && !read(&mut partition, 1));
    assert_eq!(out(&mut partition), [0, 1]);
}

#[test]
fn a_settlement_of_a_former_assignment_changes_nothing() {
    let mut partition = fresh(0);
    read(&mut partition, 0);
    out(&mut partition);
    let old = Token(0, 0);
    assert_eq!(partition.ack(Some(old), &[old]), [old]);
    assert!(!partition.settle(old) && !partition.is_current(old));
    assert_eq!(commit(&mut partition).next, 0);
}

#[test]
fn a_commit_of_a_former_assignment_changes_nothing() {
    let mut former = fresh(0);
    let snapshot = former.snapshot(None, 1_000, 0);
    let mut partition = Partition::new(2, true, Place::at(0));
    partition.committed(&snapshot);
    read(&mut partition, 0);
    assert!(out(&mut partition).is_empty(), "handed out before its own place is durable");
}

#[test]
fn what_nobody_can_be_told_is_handed_out_unless_care_is_needed() {
    let mut partition = fresh(0);
    (0..1_000).for_each(|offset| assert!(read(&mut partition, offset)));
    assert_eq!(partition.hand_out(ROOM, 0, true).len(), 1_000);
    let mut careful = Partition::new(1, true, uncertain(10 * MOST_SUSPECTS));
    assert!(read(&mut careful, 0) && careful.hand_out(ROOM, 0, true).is_empty());
}

#[test]
fn nothing_is_handed_out_beyond_the_durable_reach() {
    let mut partition = Partition::new(1, true, Place::at(0));
    (0..1_000).for_each(|offset| assert!(read(&mut partition, offset)));
    assert!(out(&mut partition).is_empty() && partition.wants_reach(0));
    let place = commit(&mut partition);
    let reach = place.out.end().unwrap();
    assert_eq!(out(&mut partition), (0..reach).collect::<Vec<_>>());
    assert!(partition.is_held_up() && partition.wants_reach(0));
    // Where a commit cannot keep up the next one reaches further.
    let further = commit(&mut partition).out.end().unwrap();
    let furthest = commit(&mut partition).out.end().unwrap();
    assert!(furthest - reach > further - reach);
    // Where it is slow, it falls back.
    assert_eq!(out(&mut partition).last(), Some(&(furthest - 1).min(999)));
    ack(&mut partition, Some(999), &[]);
    for _ in 0..10 {
        ack(&mut partition, Some(999), &[]);
        commit(&mut partition);
    }
    assert!(ahead(&partition).stride < LONGEST_REACH);
}

#[test]
fn of_what_is_given_up_nothing_more_is_handed_out() {
    let mut partition = fresh(0);
    (0..2).for_each(|offset| assert!(read(&mut partition, offset)));
    partition.stop();
    assert!(out(&mut partition).is_empty());

    let mut suspected = Partition::new(1, true, uncertain(2));
    read(&mut suspected, 0);
    suspected.accuse(0);
    suspected.stop();
    assert!(!suspected.suspect_waits(0) && suspected.hand_out_suspect(0, 0).is_none());
}

#[test]
fn after_a_death_what_may_have_been_out_comes_one_at_a_time_and_is_counted_before() {
    let mut dying = fresh(0);
    (0..3).for_each(|offset| assert!(read(&mut dying, offset)));
    out(&mut dying);
    ack(&mut dying, None, &[1]);
    let place = commit(&mut dying);

    let mut heir = Partition::new(2, true, Place { out: (0..3).collect(), ..place });
    commit(&mut heir);
    (0..5).for_each(|offset| assert_eq!(read(&mut heir, offset), offset != 1));
    assert!(out(&mut heir).is_empty(), "beside a suspect");
    assert_eq!(heir.accuse(0), Some(0));
    let place = commit(&mut heir);
    assert_eq!(place.attempts[&0].count, 2);
    let suspect = heir.hand_out_suspect(0, 0).unwrap();
    assert!(suspect.suspect && suspect.attempt == 2);
    ack(&mut heir, Some(0), &[0]);
    assert_eq!(heir.accuse(0), Some(2));
    commit(&mut heir);
    heir.hand_out_suspect(2, 0).unwrap();
    ack(&mut heir, Some(2), &[2]);
    assert_eq!(out(&mut heir), [3, 4]);
    assert!(heir.farewell().place.attempts.is_empty());
}

#[test]
fn a_killer_is_counted_at_each_death_and_nothing_beside_it() {
    let mut place = uncertain(2);
    for life in 1..5 {
        let mut partition = Partition::new(life, true, place);
        commit(&mut partition);
        (0..2).for_each(|offset| assert!(read(&mut partition, offset)));
        assert_eq!(partition.accuse(0), Some(0));
        place = commit(&mut partition);
        let attempt = u32::try_from(life).unwrap() + 1;
        assert_eq!(partition.hand_out_suspect(0, 0).unwrap().attempt, attempt);
        assert_eq!(place.attempts.keys().collect::<Vec<_>>(), [&0]);
    }
}

#[test]
fn a_suspect_that_nobody_tried_stays_one_with_its_count() {
    let mut partition = Partition::new(1, true, uncertain(2));
    commit(&mut partition);
    (0..2).for_each(|offset| assert!(read(&mut partition, offset)));
    partition.accuse(0);
    commit(&mut partition);
    let suspect = partition.hand_out_suspect(0, 0).unwrap();
    partition.give_back(suspect.token, suspect.attempt - 1);
    let place = partition.farewell().place;
    assert_eq!((place.out.end(), place.attempts[&0].count, place.in_flight), (Some(2), 1, 0));
    // Accused and never handed out, it is as before.
    assert_eq!(partition.attempts(0).count, 1);
}

#[test]
fn a_suspect_that_is_still_being_handled_stays_counted() {
    let suspect_is_out = || {
        let mut partition = Partition::new(1, true, uncertain(2));
        commit(&mut partition);
        (0..2).for_each(|offset| assert!(read(&mut partition, offset)));
        partition.accuse(0);
        commit(&mut partition);
        partition.hand_out_suspect(0, 0).unwrap();
        partition
    };
    assert_eq!(suspect_is_out().farewell().place.attempts[&0].count, 2);
    let mut partition = suspect_is_out();
    partition.acquit_all();
    assert_eq!(partition.farewell().place.attempts[&0].count, 1);
}

#[test]
fn what_was_settled_before_the_last_durable_place_is_durable() {
    let mut partition = fresh(0);
    (0..2).for_each(|offset| assert!(read(&mut partition, offset)));
    let credit = Credit { messages: 1, ..ROOM };
    partition.hand_out(credit, 0, false);
    ack(&mut partition, Some(0), &[0]);
    assert!(partition.is_undurable());
    let snapshot = partition.snapshot(None, 1_000, 0);
    partition.hand_out(credit, 0, false);
    partition.committed(&snapshot);
    assert!(partition.is_changed() && !partition.is_undurable());
}

#[test]
fn no_more_is_out_than_can_be_told_in_whatever_order_it_is_settled() {
    for (metadata, step, stride) in [(4_096, 2, 1), (4_096, 200, 1), (4_096, 3, 7), (256, 2, 1)] {
        let mut partition = fresh(0);
        (0..6_000).for_each(|number| assert!(read(&mut partition, number * stride)));
        let (mut open, mut most) = (Vec::new(), 0);
        for _ in 0..200 {
            let messages = partition.spare(metadata);
            let handed = partition.hand_out(Credit { messages, bytes: usize::MAX, suspect: false }, 0, false);
            open.extend(handed.iter().map(offset_of));
            most = most.max(open.len());
            // The first of all is slow, and so are some.
            let (slow, settled): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|offset| *offset == 0 || offset / stride % step == 0);
            ack(&mut partition, None, &settled);
            open = slow;
            let place = commit(&mut partition);
            let told = Place::read(place.next, &place.write(metadata));
            assert!(
                settled.iter().all(|offset| told.next > *offset || told.done.contains(*offset)),
                "{metadata} {step}"
            );
        }
        assert!(most >= metadata / 16, "{most}");
        ack(&mut partition, None, &open);
        assert!(partition.spare(metadata) >= metadata / 16);
    }
}

#[test]
fn what_comes_after_an_error_is_not_taken_for_read() {
    let mut partition = fresh(0);
    assert!(read(&mut partition, 0));
    partition.erred();
    partition.nothing_before(2);
    assert_eq!(partition.position(), 1);
    assert!(read(&mut partition, 1));
}

#[test]
fn more_than_a_few_that_may_have_been_out_come_a_few_at_a_time() {
    let doubt = 10 * MOST_SUSPECTS;
    let mut partition = Partition::new(1, true, uncertain(doubt));
    assert!(!partition.has_suspects());
    (0..doubt + 1_000).for_each(|offset| assert!(read(&mut partition, offset)));
    let mut handed = 0;
    while handed < doubt {
        let place = commit(&mut partition);
        let few = partition.hand_out(ROOM, 0, false);
        assert!(few.iter().all(|incoming| incoming.redelivered == (offset_of(incoming) < doubt)));
        let few: Vec<i64> = few.iter().map(offset_of).collect();
        assert!(!few.is_empty() && few[few.len() - 1] < place.next + SHORTEST_REACH, "{few:?} beyond {}", place.next);
        handed = few[few.len() - 1] + 1;
        ack(&mut partition, Some(handed - 1), &few);
    }
    for _ in 0..4 {
        commit(&mut partition);
        out(&mut partition);
    }
    assert!(ahead(&partition).until > handed + SHORTEST_REACH);
}

#[test]
fn what_retention_took_is_counted_without_what_was_settled() {
    let mut partition = fresh(0);
    assert_eq!(partition.skip_to(5), 5);
    assert_eq!(commit(&mut partition).next, 5);
    let mut place = Place::at(0);
    place.done.insert_run(1, 3);
    let mut partition = Partition::new(2, true, place);
    assert_eq!(partition.skip_to(5), 3);
    assert!(read(&mut partition, 5) && !read(&mut partition, 4));
}

#[test]
fn what_cannot_be_read_is_tried_again_before_it_is_passed() {
    let mut partition = fresh(0);
    for _ in 0..3 {
        partition.erred();
        assert_eq!(partition.look_at_gap(&(0..5)), Gap::Unread);
        partition.nothing_before(5);
        assert_eq!(partition.position(), 0, "the library passed it, we do not");
        partition.sought(true);
        // Fetched again without an error it is a gap as any other.
        assert_eq!(partition.look_at_gap(&(0..5)), Gap::Nothing);
    }
    partition.erred();
    assert_eq!(partition.look_at_gap(&(0..5)), Gap::Unreadable);
    assert_eq!(partition.skip_to(5), 5);
    assert!(read(&mut partition, 5));
    partition.erred();
    assert_eq!(partition.look_at_gap(&(6..8)), Gap::Unread, "another one");
}

#[test]
fn of_a_topic_that_is_gone_nothing_is_handed_out() {
    let mut partition = Partition::new(1, true, Place { topic: 7, ..Place::at(0) });
    commit(&mut partition);
    assert!(read(&mut partition, 0));
    partition.topic_is(8);
    assert_eq!((partition.gone_for(), out(&mut partition)), (Some(8), vec![]));
    partition.topic_is(7);
    assert_eq!((partition.gone_for(), out(&mut partition)), (None, vec![0]));
    // One of which nothing was known is in the one that is there.
    let mut unknown = fresh(0);
    unknown.topic_is(7);
    assert_eq!((unknown.gone_for(), commit(&mut unknown).topic), (None, 7));
}

proptest! {
    /// Whatever is acked in whatever order, the place is the first that is not.
    #[test]
    fn the_place_is_the_first_that_is_not_settled(
        gaps in prop::collection::vec(1_i64..4, 1..40),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut partition = fresh(0);
        let offsets: Vec<i64> = gaps.iter().scan(-1, |at, gap| { *at += gap; Some(*at) }).collect();
        for offset in &offsets {
            prop_assert!(read(&mut partition, *offset));
        }
        prop_assert_eq!(&out(&mut partition), &offsets);
        let mut open: Vec<i64> = offsets.clone();
        for index in order {
            if open.is_empty() {
                break;
            }
            let acked = open.remove(index.index(open.len()));
            let settled = offsets.iter().copied().take_while(|offset| !open.contains(offset)).last();
            ack(&mut partition, settled, &[acked]);
            let place = commit(&mut partition);
            let end = offsets[offsets.len() - 1] + 1;
            let expected = open.first().copied().unwrap_or(end);
            // Gaps before the first that is open are passed.
            prop_assert!(place.next <= expected && offsets.iter().all(|o| *o < place.next || *o >= expected),
                "{} for {}", place.next, expected);
            prop_assert_eq!(place.in_flight, open.len() as u64);
            for offset in &offsets {
                let done = *offset < place.next || place.done.contains(*offset);
                prop_assert_eq!(done, !open.contains(offset));
            }
        }
    }
}

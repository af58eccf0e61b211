//! Partitions of retry topics, whose records go when they are due.

use super::*;

/// A partition of a retry topic that stands at 0, with a durable place.
fn retries(place: Place) -> Partition {
    let mut partition = Partition::new(1, false, place);
    commit(&mut partition);
    partition
}

#[test]
fn what_comes_later_is_handed_out_when_it_is_due_in_any_order() {
    let mut partition = retries(Place::at(0));
    for (offset, due) in [(0, 300), (1, 100), (2, 200)] {
        assert!(read_due(&mut partition, offset, Some(due)));
    }
    commit(&mut partition);
    let mut due = |now| partition.hand_out(ROOM, now, false).iter().map(offset_of).collect::<Vec<_>>();
    assert_eq!((due(99), due(150), due(400)), (vec![], vec![1], vec![2, 0]));
    // In no order, so its frontier says nothing: each ack counts for itself.
    let tokens = [partition.token(1), partition.token(2)];
    assert!(partition.ack(Some(tokens[1]), &tokens).is_empty());
    assert_eq!(commit(&mut partition).next, 0);
    ack(&mut partition, None, &[0]);
    assert_eq!(commit(&mut partition).next, 3);
}

#[test]
fn a_delayed_record_waits_for_no_other_one() {
    let mut partition = retries(Place::at(0));
    (0..999).for_each(|offset| assert!(read_due(&mut partition, offset, Some(1_000))));
    assert!(read_due(&mut partition, 999, Some(10)));
    assert_eq!((partition.due(0), partition.due(10), partition.due(1_000)), (Some(10), Some(1_000), None));
    assert!(partition.hand_out(ROOM, 10, false).is_empty() && partition.wants_reach(0));
    commit(&mut partition);
    assert_eq!(partition.hand_out(ROOM, 10, false).iter().map(offset_of).collect::<Vec<_>>(), [999]);
}

#[test]
fn of_a_retry_topic_only_what_goes_soon_may_be_out_and_a_few_at_a_time() {
    let mut partition = retries(Place::at(0));
    (0..1_000).for_each(|offset| assert!(read_due(&mut partition, offset, Some(5_000))));
    assert!(commit(&mut partition).out.is_empty(), "nothing is due soon");
    let mut handed = Vec::new();
    while handed.len() < 1_000 {
        let place = commit_at(&mut partition, 5_000);
        assert!(place.out.len() <= MOST_SUSPECTS as u64);
        let out: Vec<i64> = partition.hand_out(ROOM, 5_000, false).iter().map(offset_of).collect();
        assert!(!out.is_empty() && out.iter().all(|offset| place.out.contains(*offset)), "{out:?} of {place:?}");
        let (acked, held) = out.split_at(out.len() / 2);
        ack(&mut partition, None, acked);
        // What is out stays named.
        let place = commit_at(&mut partition, 5_000);
        assert!(held.iter().all(|offset| place.out.contains(*offset)));
        ack(&mut partition, None, held);
        handed.extend(out);
    }
    assert!(commit_at(&mut partition, 5_000).out.is_empty());
}

#[test]
fn a_killer_in_a_retry_topic_is_counted_however_much_waits_beside_it() {
    let killer = 700;
    let (mut place, mut attempts) = (Place::at(0), Vec::new());
    for life in 1..6 {
        let mut partition = Partition::new(life, false, place);
        for offset in 0..1_000 {
            read_due(&mut partition, offset, Some(10));
        }
        place = commit_at(&mut partition, 10);
        // One after another, as long as it lives.
        let is_dead = loop {
            if let Some(suspect) = partition.accuse(10) {
                place = commit_at(&mut partition, 10);
                let suspect = partition.hand_out_suspect(suspect, 10).unwrap();
                if offset_of(&suspect) == killer {
                    attempts.push(suspect.attempt);
                    break true;
                }
                ack(&mut partition, None, &[offset_of(&suspect)]);
                continue;
            }
            let out: Vec<i64> = partition.hand_out(ROOM, 10, false).iter().map(offset_of).collect();
            if out.contains(&killer) {
                break true;
            }
            ack(&mut partition, None, &out);
            place = commit_at(&mut partition, 10);
            if out.is_empty() {
                break false;
            }
        };
        assert!(is_dead, "in its life {life}");
    }
    assert_eq!(attempts, [2, 3, 4, 5]);
}

#[test]
fn a_delayed_suspect_is_not_early_and_holds_up_no_other_record() {
    let mut partition = retries(uncertain(2));
    for (offset, due) in [(0, 1_000), (1, 10), (2, 20)] {
        assert!(read_due(&mut partition, offset, Some(due)));
    }
    commit(&mut partition);
    assert!(!partition.suspect_waits(9) && partition.suspect_waits(10));
    assert_eq!(partition.hand_out(ROOM, 20, false).iter().map(offset_of).collect::<Vec<_>>(), [2]);
    assert_eq!(partition.accuse(20), Some(1));
    commit(&mut partition);
    let suspect = partition.hand_out_suspect(1, 20).unwrap();
    assert_eq!((offset_of(&suspect), suspect.attempt), (1, 2));
    assert!(!partition.suspect_waits(20));
}

#[test]
fn attempts_that_a_record_carries_are_counted_once() {
    let mut partition = retries(uncertain(1));
    let token = Token(0, 0);
    assert!(partition.wants(0));
    let incoming = Incoming {
        token,
        origin: (UnitId(0), token),
        message: Message::new("x"),
        // Three have failed.
        attempt: 4,
        redelivered: true,
        published_ms: None,
        first_failed_ms: None,
        suspect: false,
    };
    partition.push(Record { due_ms: None, incoming });
    assert_eq!(partition.accuse(0), Some(0));
    assert_eq!(partition.hand_out_suspect(0, 0).unwrap().attempt, 5);
}

#[test]
fn suspects_that_nobody_can_try_yet_leave_some_room() {
    let mut partition = retries(uncertain(2 * MOST_SUSPECTS));
    let first = 2 * MOST_SUSPECTS;
    (0..first).for_each(|offset| assert!(read_due(&mut partition, offset, Some(1 << 40))));
    (first..first + 100).for_each(|offset| assert!(read_due(&mut partition, offset, Some(0))));
    assert!(partition.names_more(0) && !partition.wants_reach(0));
    commit(&mut partition);
    assert_eq!(partition.hand_out(ROOM, 0, false).len(), 16);
}

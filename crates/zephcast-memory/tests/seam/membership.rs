//! Who gets which partitions, and how they move.

use zephcast_core::driver::{Driver, Fetched, Returned};
use zephcast_core::{ErrorKind, MemberState, Token, UnitId};

use crate::lab::{credit, lab, numbers, payloads, stream, subscription, tokens};

#[tokio::test(start_paused = true)]
async fn a_join_waits_for_the_old_owner_to_release() {
    let lab = lab(4);
    let mut a = lab.join("a").await;
    assert_eq!(a.assigned().await, [0, 1, 2, 3]);
    lab.publish(["w", "x", "y", "z"]).await;
    let running = a.batch_of(credit(1)).await;
    let mut b = lab.join("b").await;
    let release = a.revoking().await;
    assert_eq!(numbers(&release.units), [2, 3]);
    b.quiet().await;
    // What stays with the old owner flows on, what is to go does not.
    assert_eq!(a.batch().await.unit, UnitId(1));
    a.quiet().await;
    assert_eq!(a.ack(&running).await, []);
    let waiting = tokio::spawn(async move {
        let units = b.assigned().await;
        (b, units)
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    release.release();
    let (mut b, units) = waiting.await.unwrap();
    assert_eq!(units, [2, 3]);
    assert_eq!(payloads(&b.batch().await), ["y"]);
    assert_eq!(payloads(&b.batch().await), ["z"]);
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_settled_until_the_release_and_not_after_it() {
    let lab = lab(2);
    let mut a = lab.join("a").await;
    a.assigned().await;
    lab.publish(["u0", "u1", "u0", "v1"]).await;
    let first = a.batch().await;
    let second = a.batch().await;
    assert_eq!(second.unit, UnitId(1));
    let mut b = lab.join("b").await;
    let release = a.revoking().await;
    assert_eq!(numbers(&release.units), [1]);
    assert_eq!(a.ack_tokens(1, [second.messages[0].token]).await.unwrap(), []);
    release.release();
    assert_eq!(b.assigned().await, [1]);
    // The rest comes to the new owner as if it had not been handed out.
    let again = b.one().await;
    assert_eq!((again.message.payload_str().unwrap(), again.attempt, again.suspect), ("v1", 1, false));
    let late = second.messages[1].token;
    assert_ne!(again.token, late);
    assert_eq!(again.origin.1, late);
    assert_eq!(a.ack_tokens(1, [late]).await.unwrap(), [(UnitId(1), late)]);
    assert_eq!(lab.status().await.in_flight, Some(3));
    assert_eq!(b.ack_tokens(1, [again.token]).await.unwrap(), []);
    assert_eq!(a.ack(&first).await, []);
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_release_counts_as_released() {
    let lab = lab(2);
    let mut a = lab.join("a").await;
    a.assigned().await;
    let mut b = lab.join("b").await;
    drop(a.revoking().await);
    assert_eq!(b.assigned().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn more_members_than_partitions_wait_and_take_over() {
    let lab = lab(2);
    let mut a = lab.join("a").await;
    a.assigned().await;
    let mut b = lab.join("b").await;
    a.revoking().await.release();
    b.assigned().await;
    let mut c = lab.join("c").await;
    for member in [&mut a, &mut b, &mut c] {
        member.quiet().await;
    }
    lab.publish(["x", "y"]).await;
    let held = a.batch().await;
    a.leave(vec![]).await;
    assert_eq!(c.assigned().await, [0]);
    let batch = c.batch().await;
    assert_eq!(payloads(&batch), payloads(&held));
}

#[tokio::test(start_paused = true)]
async fn a_leaving_member_gives_back_what_it_has_at_once() {
    let lab = lab(1);
    lab.publish(["done", "unstarted", "tried"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let batch = a.batch().await;
    let [done, unstarted, tried] = tokens(&batch)[..] else { panic!("{batch:?}") };
    let mut b = lab.join("b").await;
    b.quiet().await;
    a.ack_tokens(0, [done]).await.unwrap();
    let back = |token, attempts| Returned { unit: batch.unit, token, attempts };
    a.leave(vec![back(unstarted, 0), back(tried, 1)]).await;
    assert_eq!(b.assigned().await, [0]);
    let batch = b.batch().await;
    assert_eq!(payloads(&batch), ["unstarted", "tried"]);
    let attempts: Vec<_> = batch.messages.iter().map(|m| (m.attempt, m.suspect)).collect();
    assert_eq!(attempts, [(1, false), (2, false)]);
    assert_eq!(a.intake.fetch(credit(1)).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.ack_tokens(0, [unstarted]).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_during_a_handover_takes_nothing_along() {
    let lab = lab(2);
    let mut a = lab.join("a").await;
    a.assigned().await;
    let b = lab.join("b").await;
    let release = a.revoking().await;
    b.leave(vec![]).await;
    release.release();
    assert_eq!(a.assigned().await, [1]);
    let mut c = lab.join("c").await;
    let release = a.revoking().await;
    a.leave(vec![]).await;
    assert_eq!(c.assigned().await, [0, 1]);
    release.release();
    c.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_member_is_an_unclean_end_at_once() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    a.batch().await;
    let mut b = lab.join("b").await;
    drop(a);
    assert_eq!(b.assigned().await, [0]);
    assert!(matches!(b.fetch().await, Fetched::Suspects));
    let names: Vec<_> = lab.status().await.members.into_iter().map(|member| member.name.to_string()).collect();
    assert_eq!(names, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_member_to_join_under_a_name_has_it() {
    let lab = lab(1);
    let mut old = lab.join("a").await;
    old.assigned().await;
    let mut new = lab.join("a").await;
    assert_eq!(new.assigned().await, [0]);
    assert_eq!(old.fails().await.kind(), ErrorKind::Conflict);
    assert_eq!(old.ack_tokens(0, [Token(0, 0)]).await.unwrap(), [(UnitId(0), Token(0, 0))]);
    drop(old);
    assert_eq!(lab.status().await.units[0].owner, Some("a".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn joining_needs_a_stream_or_makes_one() {
    let lab = lab(1);
    let mut missing = subscription("a");
    missing.create = false;
    assert_eq!(lab.join_as(missing.clone()).await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(lab.driver.open_sink(&stream(), false).await.err().unwrap().kind(), ErrorKind::NotFound);
    lab.sink().await;
    assert!(lab.join_as(missing).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn members_of_two_clients_share_the_group() {
    let lab = lab(2);
    let mut a = lab.join("a").await;
    a.assigned().await;
    let other = crate::lab::Lab { driver: lab.broker.driver(), broker: lab.broker.clone() };
    let mut b = other.join("b").await;
    a.revoking().await.release();
    assert_eq!(b.assigned().await, [1]);
    other.driver.close(std::time::Duration::ZERO).await.unwrap();
    assert_eq!(b.fails().await.kind(), ErrorKind::Closed);
    assert_eq!(lab.status().await.members.iter().filter(|member| member.state == MemberState::Active).count(), 2);
}

/// A full window must not keep its member from hearing that units are to go.
#[tokio::test(start_paused = true)]
async fn a_fetch_without_credit_brings_news_only() {
    let lab = lab(2);
    let mut a = lab.join("a").await;
    lab.publish(["x"]).await;
    assert!(matches!(a.intake.fetch(credit(0)).await.unwrap(), Fetched::Assigned(_)));
    a.settler.interrupt();
    assert!(matches!(a.intake.fetch(credit(0)).await.unwrap(), Fetched::Idle));
    let waiting = tokio::spawn(async move { a.intake.fetch(credit(0)).await.unwrap() });
    tokio::task::yield_now().await;
    let _b = lab.join("b").await;
    assert!(matches!(waiting.await.unwrap(), Fetched::Revoking(_)));
}

/// Members come and go, each handing over in good order: everything is handled once and by nobody twice.
#[tokio::test(start_paused = true)]
async fn rolling_restarts_double_nothing() {
    let lab = lab(3);
    let sink = lab.sink().await;
    let mut got = Vec::new();
    let mut old = lab.join("m0").await;
    for round in 0..20_u32 {
        let batch: Vec<_> = (0..10).map(|n| zephcast_core::Message::new(format!("{round}-{n}"))).collect();
        sink.publish(&batch).await;
        let new = lab.join(&format!("m{}", round + 1)).await;
        loop {
            old.settler.interrupt();
            match old.fetch().await {
                Fetched::Batch(batch) => {
                    let some: Vec<_> = tokens(&batch).into_iter().take(2).collect();
                    got.extend(payloads(&batch)[..some.len()].iter().map(ToString::to_string));
                    assert_eq!(old.ack_tokens(batch.unit.0, some).await.unwrap(), []);
                }
                Fetched::Revoking(release) => release.release(),
                Fetched::Assigned(_) => {}
                Fetched::Idle => break,
                other => panic!("{other:?}"),
            }
        }
        old.leave(vec![]).await;
        old = new;
    }
    while got.len() < 200 {
        match old.fetch().await {
            Fetched::Batch(batch) => {
                got.extend(payloads(&batch).iter().map(ToString::to_string));
                assert_eq!(old.ack(&batch).await, []);
            }
            Fetched::Assigned(_) => {}
            other => panic!("{other:?}"),
        }
    }
    old.quiet().await;
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 200);
    assert_eq!(lab.status().await.lag, Some(0));
}

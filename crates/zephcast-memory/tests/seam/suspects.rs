//! What comes from an unclean end is handed out alone, and its count is exact.

use zephcast_core::driver::{Disposition, Fetched, Returned};
use zephcast_core::{ErrorKind, UnitId};
use zephcast_memory::{Fault, Operation};

use crate::lab::{Lab, Member, alone, credit, lab, later, payloads};

/// A member `b` of a group whose member `a` crashed with these in flight.
async fn after_a_crash<const N: usize>(lab: &Lab, payloads: [&'static str; N]) -> Member {
    lab.publish(payloads).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    while lab.status().await.in_flight < Some(N as u64) {
        a.batch().await;
    }
    drop(a);
    let mut b = lab.join("b").await;
    b.assigned().await;
    b
}

#[tokio::test(start_paused = true)]
async fn suspects_come_one_at_a_time_and_only_when_asked_for() {
    let lab = lab(1);
    let mut b = after_a_crash(&lab, ["x", "y"]).await;
    assert!(matches!(b.fetch().await, Fetched::Suspects));
    b.quiet().await;
    for (payload, last) in [("x", false), ("y", true)] {
        let batch = b.batch_of(alone()).await;
        assert_eq!(payloads(&batch), [payload]);
        assert_eq!((batch.messages[0].attempt, batch.messages[0].suspect), (2, true));
        // Said again after every change.
        if !last {
            assert!(matches!(b.fetch().await, Fetched::Suspects));
        }
        b.quiet().await;
        assert_eq!(b.ack(&batch).await, []);
    }
    lab.publish(["z"]).await;
    let after = b.one().await;
    assert_eq!((after.attempt, after.suspect), (1, false));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_unit_passes_a_suspect_but_other_units_flow() {
    let lab = lab(2);
    let mut b = after_a_crash(&lab, ["x"]).await;
    lab.publish(["other", "behind"]).await;
    assert!(matches!(b.fetch().await, Fetched::Suspects));
    assert_eq!(payloads(&b.batch().await), ["other"]);
    b.quiet().await;
    let suspect = b.batch_of(alone()).await;
    assert_eq!((suspect.unit, payloads(&suspect)), (UnitId(0), vec!["x"]));
    // The engine decides how long it holds the rest back.
    assert_eq!(payloads(&b.batch().await), ["behind"]);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_failed_waits_its_delay_and_lets_the_rest_pass() {
    let lab = lab(1);
    let mut b = after_a_crash(&lab, ["x"]).await;
    lab.publish(["behind"]).await;
    assert!(matches!(b.fetch().await, Fetched::Suspects));
    let suspect = b.batch_of(alone()).await.messages.remove(0);
    b.dispose(0, suspect.token, later(&suspect, std::time::Duration::from_secs(1))).await.unwrap();
    assert_eq!(payloads(&b.batch().await), ["behind"]);
    let again = b.one().await;
    assert_eq!((again.attempt, again.suspect), (3, false));
}

/// A killer kills each time it is tried: its count rises by one a death, and what lay beside it does not follow.
#[tokio::test(start_paused = true)]
async fn only_the_killer_counts_up() {
    let lab = lab(1);
    let mut member = after_a_crash(&lab, ["killer", "x", "y"]).await;
    for death in 0..3 {
        assert!(matches!(member.fetch().await, Fetched::Suspects));
        let batch = member.batch_of(alone()).await;
        assert_eq!((payloads(&batch), batch.messages[0].attempt), (vec!["killer"], death + 2));
        drop(member);
        member = lab.join(&format!("m{death}")).await;
        member.assigned().await;
    }
    let killer = member.batch_of(alone()).await;
    assert_eq!(killer.messages[0].attempt, 5);
    member.dispose(0, killer.messages[0].token, crate::lab::dead(&killer.messages[0])).await.unwrap();
    for innocent in ["x", "y"] {
        let batch = member.batch_of(alone()).await;
        assert_eq!((payloads(&batch), batch.messages[0].attempt), (vec![innocent], 2));
        member.ack(&batch).await;
    }
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_suspect_returned_in_good_order_is_normal_once_it_was_tried() {
    let lab = lab(1);
    let mut b = after_a_crash(&lab, ["x"]).await;
    let untried = b.batch_of(alone()).await.messages.remove(0);
    b.dispose(0, untried.token, Disposition::Return { attempts: 1 }).await.unwrap();
    assert!(matches!(b.fetch().await, Fetched::Suspects));
    let tried = b.batch_of(alone()).await.messages.remove(0);
    assert_eq!((tried.attempt, tried.suspect), (2, true), "it has not proved its innocence");
    b.dispose(0, tried.token, Disposition::Return { attempts: 2 }).await.unwrap();
    let again = b.one().await;
    assert_eq!((again.attempt, again.suspect), (3, false));
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_nobody_tried_stays_one_when_its_member_leaves() {
    let lab = lab(1);
    let mut b = after_a_crash(&lab, ["named", "unheard"]).await;
    let named = b.batch_of(alone()).await.messages.remove(0);
    b.batch_of(alone()).await;
    b.leave(vec![Returned { unit: UnitId(0), token: named.token, attempts: 1 }]).await;
    let mut c = lab.join("c").await;
    c.assigned().await;
    assert!(matches!(c.fetch().await, Fetched::Suspects));
    for payload in ["named", "unheard"] {
        let batch = c.batch_of(alone()).await;
        assert_eq!((payloads(&batch), batch.messages[0].attempt, batch.messages[0].suspect), (vec![payload], 2, true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_for_a_suspect_does_not_wait_and_brings_nothing_else() {
    let lab = lab(1);
    let mut a = lab.join("a").await;
    a.assigned().await;
    assert!(matches!(a.intake.fetch(alone()).await.unwrap(), Fetched::Idle));
    lab.publish(["x"]).await;
    assert!(matches!(a.intake.fetch(alone()).await.unwrap(), Fetched::Idle));
    assert_eq!(payloads(&a.batch().await), ["x"]);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_whose_answer_was_lost_was_not_tried() {
    let lab = lab(1);
    let mut b = after_a_crash(&lab, ["x"]).await;
    lab.broker.faults().inject(Fault::lose_reply().on(Operation::Fetch).times(1));
    assert_eq!(b.intake.fetch(alone()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(matches!(b.intake.fetch(credit(1)).await.unwrap(), Fetched::Suspects));
    assert_eq!(b.batch_of(alone()).await.messages[0].attempt, 2);
}

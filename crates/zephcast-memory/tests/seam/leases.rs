//! Who is silent for too long loses what it holds.

use std::time::Duration;

use tokio::time::{advance, sleep};
use zephcast_core::driver::{Fetched, Renewal};
use zephcast_core::{MemberState, Token, UnitId};

use crate::lab::{LEASE, alone, lab, payloads, tokens};

const THIRD: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_silent_member_loses_its_units_and_the_next_gets_them_at_once() {
    let lab = lab(1);
    lab.publish(["x", "y"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.batch().await;
    let mut b = lab.join("b").await;
    let keep_b = b.settler.clone();
    let renewing = tokio::spawn(async move {
        loop {
            sleep(THIRD).await;
            keep_b.renew(Renewal::default()).await.unwrap();
        }
    });
    let before = tokio::time::Instant::now();
    assert_eq!(b.assigned().await, [0]);
    assert_eq!(before.elapsed(), LEASE);
    assert!(matches!(b.fetch().await, Fetched::Suspects));
    // The old owner is too late and changes nothing.
    let lost: Vec<_> = tokens(&held).into_iter().map(|token| (UnitId(0), token)).collect();
    assert_eq!(a.ack(&held).await, lost);
    assert_eq!(lab.status().await.lag, Some(2));
    assert_eq!(a.lost().await, [0]);
    a.quiet().await;
    renewing.abort();
}

#[tokio::test(start_paused = true)]
async fn renewing_keeps_everything_however_long_it_takes() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.batch().await;
    for _ in 0..30 {
        advance(THIRD).await;
        assert_eq!(a.renew_held(0, tokens(&held)).await, []);
    }
    assert_eq!(a.ack(&held).await, []);
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_by_itself_without_anyone_else() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.batch().await;
    advance(LEASE).await;
    let status = lab.status().await;
    assert_eq!((status.members[0].state, status.units[0].owner.clone()), (MemberState::Dead, None));
    assert_eq!(a.lost().await, [0]);
    // It comes back: its units are its own again, what it had is suspect, its old tokens are worth nothing.
    assert_eq!(a.assigned().await, [0]);
    assert!(matches!(a.fetch().await, Fetched::Suspects));
    assert_eq!(a.ack(&held).await, [(UnitId(0), Token(0, 0))]);
    let again = a.batch_of(alone()).await;
    assert_eq!((again.messages[0].attempt, again.messages[0].suspect), (2, true));
    assert_eq!(a.ack(&held).await, [(UnitId(0), Token(0, 0))]);
    assert_eq!(a.ack(&again).await, []);
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn renewing_too_late_says_what_is_lost_and_takes_part_again() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.batch().await;
    advance(LEASE).await;
    assert_eq!(a.renew_held(0, tokens(&held)).await, [(UnitId(0), Token(0, 0))]);
    assert_eq!(a.lost().await, [0]);
    assert_eq!(a.assigned().await, [0]);
    assert_eq!(lab.status().await.members[0].state, MemberState::Active);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_fetch_learns_that_its_own_lease_is_over() {
    let lab = lab(1);
    let mut a = lab.join("a").await;
    a.assigned().await;
    let before = tokio::time::Instant::now();
    assert_eq!(a.lost().await, [0]);
    assert_eq!(before.elapsed(), LEASE);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_dies_while_it_hands_over_is_not_waited_for() {
    let lab = lab(2);
    let mut a = lab.join("a").await;
    a.assigned().await;
    let mut b = lab.join("b").await;
    let release = a.revoking().await;
    advance(LEASE / 2).await;
    b.renew().await;
    advance(LEASE / 2).await;
    assert_eq!(b.assigned().await, [0, 1]);
    release.release();
    assert_eq!(a.lost().await, [0, 1]);
    a.quiet().await;
    b.revoking().await.release();
    assert_eq!(a.assigned().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn status_shows_who_is_active_stuck_or_dead() {
    let lab = lab(2);
    lab.publish(["x", "y"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let batch = a.batch().await;
    a.batch().await;
    advance(THIRD).await;
    let b = lab.join("b").await;
    let oldest = Some(Duration::from_secs(40));
    a.settler.renew(Renewal { held: vec![], oldest }).await.unwrap();
    let status = lab.status().await;
    let [first, second] = &status.members[..] else { panic!("{status:?}") };
    assert_eq!((first.state, first.oldest_delivery, first.lease), (MemberState::Stuck, oldest, Some(LEASE)));
    assert_eq!((first.in_flight, first.idle), (Some(2), Some(Duration::ZERO)));
    assert_eq!((second.state, second.in_flight), (MemberState::Active, Some(0)));
    assert_eq!((status.in_flight, status.oldest_pending), (Some(2), Some(THIRD)));
    a.ack(&batch).await;
    a.settler.renew(Renewal { held: vec![], oldest: Some(THIRD) }).await.unwrap();
    assert_eq!(lab.status().await.members[0].state, MemberState::Active);
    advance(LEASE).await;
    let states: Vec<_> = lab.status().await.members.into_iter().map(|member| member.state).collect();
    assert_eq!(states, [MemberState::Dead, MemberState::Dead]);
    assert_eq!(b.ack_tokens(0, []).await.unwrap(), []);
    assert_eq!(payloads(&batch), ["x"]);
}

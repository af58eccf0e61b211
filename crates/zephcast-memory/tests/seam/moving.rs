//! Groups that are moved or deleted, and the members that were there before.

use std::time::Duration;

use tokio::time::advance;
use zephcast_core::driver::Driver;
use zephcast_core::{ErrorKind, Start, Token, UnitId};
use zephcast_memory::Fault;

use crate::lab::{LEASE, group, lab, later, payloads, position, stream, tokens};

#[tokio::test(start_paused = true)]
async fn a_member_of_before_settles_nothing_of_what_comes_again() {
    let lab = lab(1);
    lab.publish(["x", "y"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let before = a.batch().await;
    let admin = lab.admin();
    let error = admin.seek_group(&stream(), &group(), Start::Earliest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("\"a\""), "{error}");
    advance(LEASE).await;
    admin.seek_group(&stream(), &group(), Start::Earliest).await.unwrap();
    let late: Vec<_> = tokens(&before).into_iter().map(|token| (UnitId(0), token)).collect();
    assert_eq!(a.ack(&before).await, late);
    assert_eq!(a.renew_held(0, tokens(&before)).await, late);
    assert_eq!(lab.status().await.lag, Some(2));
    // It takes part again, and gets what comes again as everybody would.
    assert_eq!((a.lost().await, a.assigned().await), (vec![0], vec![0]));
    let again = a.batch().await;
    assert!(again.messages.iter().all(|message| message.attempt == 1 && !message.suspect && !message.redelivered));
    assert_eq!((payloads(&again), a.ack(&again).await), (vec!["x", "y"], vec![]));
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_message_can_wait_for_a_later_attempt_and_come_again_too() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let first = a.one().await;
    a.dispose(0, first.token, later(&first, Duration::from_secs(1))).await.unwrap();
    a.leave(vec![]).await;
    lab.admin().seek_group(&stream(), &group(), Start::Earliest).await.unwrap();
    let status = lab.status().await;
    assert_eq!((status.lag, status.delayed), (Some(2), Some(1)));
    let mut b = lab.join("b").await;
    b.assigned().await;
    let original = b.one().await;
    advance(Duration::from_secs(1)).await;
    let copy = b.one().await;
    assert_eq!((original.token, original.attempt, copy.attempt), (Token(0, 0), 1, 2));
    // Both are held, so both are handed out once more when an answer may have been lost.
    lab.broker.faults().inject(Fault::cut().times(1));
    b.fails().await;
    let mut again = tokens(&b.batch().await);
    again.sort_unstable();
    assert_eq!(again, [original.token, copy.token]);
    assert_eq!(b.ack_tokens(0, again).await.unwrap(), []);
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn an_impossible_place_changes_nothing() {
    let lab = lab(2);
    lab.publish(["x", "y"]).await;
    lab.admin().create_group(&stream(), &group(), Start::Earliest).await.unwrap();
    for bad in [position(0, 2), position(2, 0)] {
        let error = lab.admin().seek_group(&stream(), &group(), Start::Position(bad)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(lab.status().await.lag, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_of_a_deleted_group_hears_that_it_is_gone() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.batch().await;
    let admin = lab.admin();
    assert_eq!(admin.delete_group(&stream(), &group()).await.unwrap_err().kind(), ErrorKind::Conflict);
    advance(LEASE).await;
    admin.delete_group(&stream(), &group()).await.unwrap();
    for error in [a.fails().await, a.ack_tokens(0, tokens(&held)).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("billing"), "{error}");
    }
    drop(a);
    assert_eq!(lab.driver.group_status(&stream(), &group()).await.unwrap_err().kind(), ErrorKind::NotFound);
    // A later group of this name has nothing to do with it.
    let mut b = lab.join("b").await;
    b.assigned().await;
    assert_eq!((b.one().await.attempt, lab.status().await.members.len()), (1, 1));
}

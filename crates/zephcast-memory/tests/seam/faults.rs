//! What goes wrong on request goes wrong as it would on a wire.

use std::time::Duration;

use tokio::time::{Instant, advance};
use zephcast_core::driver::{Driver, Fetched, Returned};
use zephcast_core::{ErrorKind, MemberState, PublishError, Token, UnitId};
use zephcast_memory::{Fault, Operation};

use crate::lab::{LEASE, alone, dead, group, lab, payloads, stream, subscription, tokens};

fn kind(result: &Result<impl Sized, PublishError>) -> Option<(bool, ErrorKind)> {
    result.as_ref().err().map(|error| (error.is_unknown(), error.kind()))
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_waiting_calls_and_lasts_until_it_is_cleared() {
    let lab = lab(1);
    let mut a = lab.join("a").await;
    a.assigned().await;
    let waiting = tokio::spawn(async move { (a.fails().await, a) });
    tokio::task::yield_now().await;
    lab.broker.faults().inject(Fault::cut());
    let (error, mut a) = waiting.await.unwrap();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(a.fails().await.kind(), ErrorKind::Unavailable);
    assert_eq!(kind(&lab.broker_publish().await), Some((false, ErrorKind::Unavailable)));
    assert_eq!(lab.driver.group_status(&stream(), &group()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(lab.join_as(subscription("b")).await.err().unwrap().kind(), ErrorKind::Unavailable);
    lab.broker.faults().clear();
    lab.publish(["x"]).await;
    assert_eq!(payloads(&a.batch().await), ["x"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_cut_the_member_is_handed_what_it_holds_once_more() {
    let lab = lab(2);
    lab.publish(["x", "y", "z"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let (first, second) = (a.batch().await, a.batch().await);
    a.ack_tokens(0, [first.messages[0].token]).await.unwrap();
    lab.broker.faults().inject(Fault::cut().times(1));
    a.fails().await;
    for expected in [&first.messages[1], &second.messages[0]] {
        let again = a.one().await;
        assert_eq!((again.token, again.attempt), (expected.token, 1), "the same delivery, not a new one");
        assert_eq!(again.message, expected.message);
    }
    a.quiet().await;
    assert_eq!(a.ack(&second).await, []);
    assert_eq!(lab.status().await.in_flight, Some(1));
}

#[tokio::test(start_paused = true)]
async fn after_a_cut_nothing_is_handed_out_that_went_elsewhere() {
    let lab = lab(2);
    lab.publish(["x", "y"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let mine = a.batch().await;
    assert_eq!(payloads(&a.batch().await), ["y"]);
    let mut b = lab.join("b").await;
    let release = a.revoking().await;
    lab.broker.faults().inject(Fault::cut().member("a").times(1));
    a.fails().await;
    // What is to be repeated is known from here on: both messages.
    let again = a.batch_of(crate::lab::credit(1)).await;
    assert_eq!((again.unit, tokens(&again)), (UnitId(0), tokens(&mine)));
    release.release();
    b.assigned().await;
    assert_eq!(payloads(&b.batch().await), ["y"]);
    a.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn one_member_is_cut_for_a_while_and_the_others_go_on() {
    let lab = lab(2);
    let mut a = lab.join("a").await;
    a.assigned().await;
    let mut b = lab.join("b").await;
    a.revoking().await.release();
    b.assigned().await;
    lab.broker.faults().inject(Fault::cut().member("a").lasting(Duration::from_secs(5)));
    assert_eq!(a.fails().await.kind(), ErrorKind::Unavailable);
    assert_eq!(a.settler.renew(Default::default()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    lab.publish(["x", "y"]).await;
    assert_eq!(payloads(&b.batch().await), ["y"]);
    advance(Duration::from_secs(5)).await;
    assert_eq!(payloads(&a.batch().await), ["x"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_publish_reply_is_unknown_and_stored() {
    let lab = lab(1);
    lab.broker.faults().inject(Fault::lose_reply().on(Operation::Publish).times(1));
    assert_eq!(kind(&lab.broker_publish().await), Some((true, ErrorKind::Unavailable)));
    assert_eq!(kind(&lab.broker_publish().await), None);
    assert_eq!(lab.admin().stream(&stream()).await.unwrap().depth, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_failed_publish_is_not_stored() {
    let lab = lab(1);
    lab.broker.faults().inject(Fault::fail(ErrorKind::Blocked).on(Operation::Publish).times(2));
    for expected in [Some((false, ErrorKind::Blocked)), Some((false, ErrorKind::Blocked)), None] {
        assert_eq!(kind(&lab.broker_publish().await), expected);
    }
    assert_eq!(lab.admin().stream(&stream()).await.unwrap().depth, Some(1));
}

#[tokio::test(start_paused = true)]
async fn late_answers_keep_the_order_of_the_calls() {
    let lab = lab(1);
    let sink = lab.sink().await;
    lab.broker.faults().inject(Fault::delay(Duration::from_millis(50)).on(Operation::Publish).times(1));
    let begun = Instant::now();
    let (first, second) = ([zephcast_core::Message::new("first")], [zephcast_core::Message::new("second")]);
    let (slow, fast) = tokio::join!(sink.publish(&first), sink.publish(&second));
    assert_eq!((slow[0].is_ok(), fast[0].is_ok()), (true, true));
    assert_eq!(begun.elapsed(), Duration::from_millis(50));
    let mut a = lab.join("a").await;
    a.assigned().await;
    assert_eq!(payloads(&a.batch().await), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_cut_overtakes_is_lost() {
    let lab = lab(1);
    let sink = lab.sink().await;
    lab.broker.faults().inject(Fault::delay(Duration::from_secs(1)).on(Operation::Publish));
    let waiting = tokio::spawn(async move { sink.publish(&[zephcast_core::Message::new("x")]).await.remove(0) });
    tokio::task::yield_now().await;
    lab.broker.faults().inject(Fault::cut().on(Operation::Publish));
    assert_eq!(kind(&waiting.await.unwrap()), Some((true, ErrorKind::Unavailable)));
}

#[tokio::test(start_paused = true)]
async fn slow_messages_come_later_and_an_interrupt_does_not_wait_for_them() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    lab.broker.faults().inject(Fault::delay(Duration::from_secs(2)).on(Operation::Fetch));
    let begun = Instant::now();
    a.quiet().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(payloads(&a.batch().await), ["x"]);
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_lost_settle_reply_is_settled_and_can_be_settled_again() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let batch = a.batch().await;
    lab.broker.faults().inject(Fault::lose_reply().on(Operation::Settle).times(1));
    let error = a.ack_tokens(0, tokens(&batch)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(lab.status().await.lag, Some(0));
    assert_eq!(a.ack(&batch).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_lost_fetch_reply_is_handed_out_again_and_counts_once() {
    let lab = lab(1);
    lab.publish(["x", "y"]).await;
    let mut a = lab.join("a").await;
    lab.broker.faults().inject(Fault::lose_reply().on(Operation::Fetch).times(1));
    a.assigned().await;
    assert_eq!(a.fails().await.kind(), ErrorKind::Unavailable);
    let batch = a.batch().await;
    assert_eq!(payloads(&batch), ["x", "y"]);
    assert!(batch.messages.iter().all(|message| message.attempt == 1));
    assert_eq!(a.ack(&batch).await, []);
    a.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn refused_dead_letters_leave_the_delivery_where_it_is() {
    let lab = lab(1);
    lab.publish(["bad", "good"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let batch = a.batch().await;
    lab.broker.faults().inject(Fault::refuse_dead_letters());
    let mut unit = zephcast_core::driver::UnitSettlements::new(UnitId(0));
    unit.acked = vec![batch.messages[1].token];
    unit.others = vec![(batch.messages[0].token, dead(&batch.messages[0]))];
    let settlement = crate::lab::settlement(unit);
    assert_eq!(a.settler.settle(&settlement).await.unwrap_err().kind(), ErrorKind::Blocked);
    let status = lab.status().await;
    assert_eq!((status.in_flight, status.dead_letters), (Some(1), Some(0)));
    lab.broker.faults().clear();
    assert_eq!(a.settler.settle(&settlement).await.unwrap(), []);
    let status = lab.status().await;
    assert_eq!((status.lag, status.dead_letters), (Some(0), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_crashed_member_sees_its_loss_and_others_take_over() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.batch().await;
    let mut b = lab.join("b").await;
    b.quiet().await;
    lab.broker.faults().crash("a");
    assert_eq!(lab.status().await.members[0].state, MemberState::Dead);
    assert_eq!(b.assigned().await, [0]);
    let again = b.batch_of(alone()).await;
    assert_eq!((again.messages[0].attempt, again.messages[0].suspect), (2, true));
    assert_eq!(a.lost().await, [0]);
    assert_eq!(a.ack(&held).await, [(UnitId(0), Token(0, 0))]);
    assert_eq!(b.ack(&again).await, []);
}

#[tokio::test(start_paused = true)]
async fn all_leases_can_end_at_once() {
    let lab = lab(2);
    let mut a = lab.join("a").await;
    a.assigned().await;
    lab.broker.faults().expire_leases();
    assert_eq!(lab.status().await.units[0].owner, None);
    assert_eq!(a.lost().await, [0, 1]);
    assert_eq!(a.assigned().await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_does_not_arrive_leaves_the_rest_to_the_lease() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.one().await;
    lab.broker.faults().inject(Fault::cut().on(Operation::Leave));
    let back = vec![Returned { unit: UnitId(0), token: held.token, attempts: 0 }];
    let error = a.settler.leave(back, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let mut b = lab.join("b").await;
    b.quiet().await;
    advance(LEASE - Duration::from_secs(1)).await;
    b.renew().await;
    advance(Duration::from_secs(1)).await;
    assert_eq!(b.assigned().await, [0]);
    assert!(matches!(b.fetch().await, Fetched::Suspects));
}

#[tokio::test(start_paused = true)]
async fn leaving_answers_within_its_deadline() {
    let lab = lab(1);
    let a = lab.join("a").await;
    lab.broker.faults().inject(Fault::delay(Duration::from_secs(60)).on(Operation::Leave));
    let begun = Instant::now();
    let error = a.settler.leave(vec![], Duration::from_secs(3)).await.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Unavailable, Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn chances_are_the_same_for_the_same_seed() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let lab = lab(1);
        lab.broker.faults().seed(seed).inject(Fault::cut().on(Operation::Publish).chance(0.3));
        let mut outcomes = Vec::new();
        for _ in 0..200 {
            outcomes.push(lab.broker_publish().await.is_ok());
        }
        let failed = outcomes.iter().filter(|ok| !**ok).count();
        assert!((30..90).contains(&failed), "{failed}");
        runs.push(outcomes);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

impl crate::lab::Lab {
    async fn broker_publish(&self) -> Result<Option<zephcast_core::Position>, PublishError> {
        // A client of its own, opened before any fault: only the publish meets one.
        let quiet = zephcast_core::Message::new("x");
        match self.driver.open_sink(&stream(), true).await {
            Ok(sink) => sink.publish(&[quiet]).await.remove(0),
            Err(error) => Err(PublishError::Failed(error)),
        }
    }
}

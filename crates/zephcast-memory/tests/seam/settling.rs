//! What becomes of a delivery.

use std::time::Duration;

use zephcast_core::driver::{Disposition, Fetched};
use zephcast_core::{Message, Token};

use crate::lab::{dead, lab, later, payloads, tokens};

#[tokio::test(start_paused = true)]
async fn acks_in_any_order_settle_exactly_what_they_name() {
    let lab = lab(1);
    lab.publish(["a", "b", "c", "d"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let batch = a.batch().await;
    let [_, b, _, d] = tokens(&batch)[..] else { panic!("{batch:?}") };
    assert_eq!(a.ack_tokens(0, [d, b]).await.unwrap(), []);
    let status = lab.status().await;
    assert_eq!((status.lag, status.in_flight), (Some(2), Some(2)));
    assert_eq!((status.units[0].committed.as_deref(), status.units[0].end.as_deref()), (Some("0"), Some("4")));
    // Settling again is fine.
    assert_eq!(a.ack_tokens(0, [d, b, d]).await.unwrap(), []);
    assert_eq!(lab.status().await.lag, Some(2));
    drop(a);
    let mut next = lab.join("b").await;
    next.assigned().await;
    assert!(matches!(next.fetch().await, Fetched::Suspects));
    let first = next.batch_of(crate::lab::alone()).await;
    assert_eq!(payloads(&first), ["a"]);
    next.ack(&first).await;
    assert!(matches!(next.fetch().await, Fetched::Suspects));
    assert_eq!(payloads(&next.batch_of(crate::lab::alone()).await), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_never_handed_out_settles_nothing() {
    let lab = lab(2);
    lab.publish(["x", "y"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    for (unit, token) in [(0, Token(0, 0)), (0, Token(7, 0)), (0, Token(0, 3)), (9, Token(0, 0))] {
        assert_eq!(a.ack_tokens(unit, [token]).await.unwrap().len(), 1, "{unit} {token:?}");
        assert_eq!(a.dispose(unit, token, Disposition::Return { attempts: 0 }).await.unwrap().len(), 1);
    }
    assert_eq!(lab.status().await.lag, Some(2));
}

#[tokio::test(start_paused = true)]
async fn later_comes_again_after_its_delay_to_this_group_only() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    let mut other = lab.start_at("audit", zephcast_core::Start::Earliest).await.unwrap();
    a.assigned().await;
    other.assigned().await;
    other.batch().await;
    let first = a.one().await;
    let delay = Duration::from_secs(5);
    assert_eq!(a.dispose(0, first.token, later(&first, delay)).await.unwrap(), []);
    let status = lab.status().await;
    assert_eq!((status.lag, status.in_flight, status.delayed), (Some(1), Some(0), Some(1)));
    a.quiet().await;
    lab.publish(["y"]).await;
    assert_eq!(payloads(&a.batch().await), ["y"]);
    let before = tokio::time::Instant::now();
    let again = a.one().await;
    assert_eq!(before.elapsed(), delay);
    assert_eq!((again.attempt, again.suspect, again.first_failed_ms), (2, false, Some(7)));
    assert_eq!((again.message, again.published_ms, again.origin.1), (first.message, first.published_ms, first.token));
    assert!(again.token > first.token);
    assert_eq!(lab.status().await.delayed, Some(0));
    // The old token is settled; only the new one counts.
    assert_eq!(a.ack_tokens(0, [first.token]).await.unwrap(), []);
    assert_eq!(lab.status().await.in_flight, Some(2));
    assert_eq!(a.ack_tokens(0, [again.token]).await.unwrap(), []);
    assert_eq!(lab.status().await.in_flight, Some(1));
    other.quiet_but(&["y"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_delay_survives_its_member() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let first = a.one().await;
    a.dispose(0, first.token, later(&first, Duration::from_secs(5))).await.unwrap();
    drop(a);
    let mut b = lab.join("b").await;
    b.assigned().await;
    b.quiet().await;
    let again = b.one().await;
    // It was settled before its member ended: no suspect.
    assert_eq!((again.attempt, again.suspect), (2, false));
}

#[tokio::test(start_paused = true)]
async fn no_delay_means_at_once_and_an_endless_one_never() {
    let lab = lab(1);
    lab.publish(["x", "y"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let batch = a.batch().await;
    a.dispose(0, batch.messages[0].token, later(&batch.messages[0], Duration::MAX)).await.unwrap();
    a.dispose(0, batch.messages[1].token, later(&batch.messages[1], Duration::ZERO)).await.unwrap();
    assert_eq!(a.one().await.message, Message::new("y"));
    a.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_return_wakes_the_waiting_fetch() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let first = a.one().await;
    let settler = a.settler.clone();
    let waiting = tokio::spawn(async move { a.one().await });
    tokio::task::yield_now().await;
    let mut unit = zephcast_core::driver::UnitSettlements::new(zephcast_core::UnitId(0));
    unit.others = vec![(first.token, Disposition::Return { attempts: 0 })];
    let settlement = crate::lab::settlement(unit);
    assert_eq!(settler.settle(&settlement).await.unwrap(), []);
    let again = waiting.await.unwrap();
    assert_eq!(again.attempt, 1);
    // An unanswered call that is made again must not touch the new delivery.
    assert_eq!(settler.settle(&settlement).await.unwrap(), []);
    assert_eq!(lab.status().await.in_flight, Some(1));
}

#[tokio::test(start_paused = true)]
async fn kept_stays_with_its_member_under_its_token_with_its_attempts() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let first = a.one().await;
    a.dispose(0, first.token, Disposition::Keep { attempts: 3 }).await.unwrap();
    a.quiet().await;
    assert_eq!(lab.status().await.in_flight, Some(1));
    lab.broker.faults().crash("a");
    let mut b = lab.join("b").await;
    b.assigned().await;
    assert!(matches!(b.fetch().await, Fetched::Suspects));
    assert_eq!(b.batch_of(crate::lab::alone()).await.messages[0].attempt, 4);
}

#[tokio::test(start_paused = true)]
async fn a_kept_delivery_is_acked_by_its_token() {
    let lab = lab(1);
    lab.publish(["x"]).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let first = a.one().await;
    for attempts in 1..4 {
        assert_eq!(a.dispose(0, first.token, Disposition::Keep { attempts }).await.unwrap(), []);
    }
    assert_eq!(a.ack_tokens(0, [first.token]).await.unwrap(), []);
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_says_why_where_and_how_often() {
    let lab = lab(1);
    let message = Message::new("x").with_key("k").with_header("traceparent", "00-1");
    lab.sink().await.publish(std::slice::from_ref(&message)).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let first = a.one().await;
    for _ in 0..2 {
        // The second is the same call made again, unanswered: no second letter.
        assert_eq!(a.dispose(0, first.token, dead(&first)).await.unwrap(), []);
    }
    let status = lab.status().await;
    assert_eq!((status.lag, status.dead_letters), (Some(0), Some(1)));
    let letters = lab.admin().dead_letters(&crate::lab::stream(), &crate::lab::group(), None, 10).await.unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(letter.message, message);
    assert_eq!(
        (letter.reason.as_str(), letter.attempts, letter.origin.as_str()),
        ("no such customer", 1, "orders@0:0")
    );
    assert_eq!((letter.first_failed_ms, letter.last_failed_ms), (Some(7), Some(9)));
}

impl crate::lab::Member {
    /// Only these are there for it now.
    async fn quiet_but(&mut self, expected: &[&str]) {
        assert_eq!(payloads(&self.batch().await), expected);
        self.quiet().await;
    }
}

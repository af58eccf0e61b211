//! The network between a member and the server breaks: the member notices, another one takes over, nothing is lost.

use std::time::Duration;

use integration_tests::proxy::{Direction, Proxy};
use tokio::time::Instant;
use zephcast::{ErrorKind, Event};

use super::lab::{self, LEASE};

const MESSAGES: u32 = 20;

#[derive(Clone, Copy, Debug)]
enum Break {
    Reset,
    BlackHole,
    Deaf,
    Mute,
}

impl Break {
    fn happens(self, proxy: &Proxy) {
        match self {
            Self::Reset => proxy.reset(),
            Self::BlackHole => proxy.set_black_hole(Direction::BOTH),
            Self::Deaf => proxy.set_black_hole(&[Direction::FromServer]),
            Self::Mute => proxy.set_black_hole(&[Direction::FromClient]),
        }
    }

    /// How long it takes until the member knows. One that hears the server is told by it.
    fn noticed_within(self) -> Duration {
        match self {
            Self::Reset => Duration::from_secs(1),
            // The client library looks each second.
            Self::BlackHole | Self::Deaf => LEASE + Duration::from_secs(2),
            Self::Mute => LEASE + LEASE,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_cut_off_notices_and_another_one_takes_over() {
    let server = lab::shared().await;
    let breaks = [Break::Reset, Break::BlackHole, Break::Deaf, Break::Mute];
    futures_util::future::join_all(breaks.map(async |kind| {
        let stream = format!("network-{kind:?}");
        let (proxy, cut) = lab::connect_by_proxy(&server).await;
        let healthy = lab::connect(&server).await;
        let mut member = lab::join(&cut, &stream, 100).await;
        lab::publish(&healthy, &stream, 0..MESSAGES).await;
        let held = lab::take(&mut member, MESSAGES as usize).await;
        let mut other = lab::join(&healthy, &stream, 100).await;

        let begin = Instant::now();
        kind.happens(&proxy);
        lab::lost(&held).await;
        let noticed = begin.elapsed();
        assert!(noticed <= kind.noticed_within(), "{kind:?} was noticed after {noticed:?}");
        lab::refuses(held).await;
        if matches!(kind, Break::Reset) {
            // Back at once, it may have them all again.
            proxy.down().await;
            proxy.reset();
        }
        lab::all_come(&mut other, 0..MESSAGES).await;
        println!("{kind:?}: noticed after {noticed:?}, taken over after {:?}", begin.elapsed());
        proxy.up().await.expect("comes up");
        proxy.heal();
        other.close(Duration::from_secs(10)).await.expect("leaves");
        lab::publish(&healthy, &stream, MESSAGES..MESSAGES + 5).await;
        // What was refused is told once.
        let _ = tokio::time::timeout(Duration::from_secs(20), member.commit()).await.expect("an answer");
        lab::all_come(&mut member, MESSAGES..MESSAGES + 5).await;
        lab::left(&server, &stream, &[]).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_ack_whose_answer_was_lost_nobody_says_that_it_comes_again() {
    const STREAM: &str = "answer-lost";
    let server = lab::shared().await;
    let (proxy, cut) = lab::connect_by_proxy(&server).await;
    let healthy = lab::connect(&server).await;
    let mut member = lab::join(&cut, STREAM, 10).await;
    lab::publish(&healthy, STREAM, 0..1).await;
    let delivery = lab::next(&mut member).await;
    proxy.set_hold(&[Direction::FromServer]);
    let mut confirming = Box::pin(delivery.ack_confirmed());
    tokio::select! {
        answer = &mut confirming => panic!("the answer is held back: {answer:?}"),
        () = lab::left(&server, STREAM, &[]) => {}
    }
    proxy.reset();
    proxy.heal();
    let answer = tokio::time::timeout(lab::PATIENCE, confirming).await.expect("an answer");
    assert_eq!(answer.expect_err("nobody knows").kind(), ErrorKind::Unavailable);
    lab::publish(&healthy, STREAM, 1..2).await;
    assert_eq!(lab::number(&lab::next(&mut member).await), 1, "the server had it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_of_a_former_connection_is_said_of_no_later_one() {
    const STREAM: &str = "former-connection";
    let server = lab::shared().await;
    let (proxy, cut) = lab::connect_by_proxy(&server).await;
    let mut member = lab::join(&cut, STREAM, 10).await;
    let mut events = member.events();
    let healthy = lab::connect(&server).await;
    lab::publish(&healthy, STREAM, 0..1).await;
    lab::next(&mut member).await.ack().expect("is recorded");
    lab::left(&server, STREAM, &[]).await;
    proxy.reset();
    lab::hears(&mut events, |event| matches!(event, Event::Lost(_))).await;
    lab::hears(&mut events, |event| matches!(event, Event::Assigned(_))).await;
    lab::publish(&healthy, STREAM, 1..2).await;
    lab::next(&mut member).await.ack_confirmed().await.expect("is durable");
    let unknown = member.commit().await.expect_err("of the first nobody knows");
    assert_eq!(unknown.kind(), ErrorKind::Unavailable, "{unknown}");
    member.commit().await.expect("it is told once");
}

//! A publisher that is faster than its network.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use zephcast_core::PublishError;

use crate::network::{Direction, copies, through, way_to};
use crate::prelude::*;

const BODY: usize = 8 << 10;
const ROOM: u32 = 128 << 10;
/// What there is room for, as much that was just answered and is not yet freed, and the one that waits.
const MOST: usize = 2 * ROOM as usize / BODY + 1;

/// Bodies that somebody still has.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

/// One body; counts as long as anybody has it.
struct Body(Vec<u8>, Alive);

impl Alive {
    fn body(&self) -> Bytes {
        self.0.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Body(vec![b'x'; BODY], self.clone()))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.1.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Publishes as fast as there is room for it; returns the outcomes and the most bodies that were alive.
async fn publish_fast(
    publisher: &zephcast_redis::Publisher,
    count: usize,
) -> (Vec<Result<zephcast_redis::Receipt, PublishError>>, usize) {
    let (alive, mut most) = (Alive::default(), 0);
    let mut pending = Vec::new();
    for _ in 0..count {
        pending.push(publisher.enqueue(Message::new(alive.body())).await);
        most = most.max(alive.count());
    }
    let mut outcomes = Vec::new();
    for enqueued in pending {
        outcomes.push(match enqueued {
            Ok(receipt) => receipt.await,
            Err(error) => Err(error),
        });
    }
    (outcomes, most)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_waits_for_a_slow_network_with_bounded_memory() {
    const MESSAGES: usize = 150;
    let server = Server::own(&[]);
    let proxy = way_to(&server).await;
    let stream = unique_stream("narrow");
    let client = through(&proxy).connect().await.unwrap();
    let publisher = client.publisher(stream.as_str()).in_flight_bytes(ROOM).await.unwrap();
    proxy.set_bandwidth(Some(500 << 10));
    let began = Instant::now();
    let (outcomes, most) = publish_fast(&publisher, MESSAGES).await;
    assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes.iter().find(|outcome| outcome.is_err()));
    assert!(began.elapsed() > Duration::from_secs(1), "the network was not slow: {:?}", began.elapsed());
    assert!(most <= MOST, "{most} bodies at once");
    assert_eq!(server.cli(&["XLEN", stream.as_str()]), MESSAGES.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_on_a_network_that_is_too_slow_says_so_and_how_sure_it_is() {
    const MESSAGES: usize = 120;
    let server = Server::own(&[]);
    let proxy = way_to(&server).await;
    let stream = unique_stream("trickle");
    let config = through(&proxy).command_timeout(Duration::from_millis(500));
    let client = config.connect().await.unwrap();
    let publisher = client.publisher(stream.as_str()).in_flight_bytes(ROOM);
    let publisher = publisher.timeout(Duration::from_millis(300)).await.unwrap();
    proxy.set_bandwidth(Some(20 << 10));
    let began = Instant::now();
    let (outcomes, most) = publish_fast(&publisher, MESSAGES).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(most <= MOST, "{most} bodies at once");
    let (mut failed, mut unknown) = (0, 0);
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error:?}");
        if error.is_unknown() { unknown += 1 } else { failed += 1 }
    }
    assert!(failed > 0 && unknown > 0, "{failed} failed, {unknown} unknown");
    // What was on its way arrives, or does not.
    proxy.heal();
    proxy.reset();
    proxy.until(|counters| counters.open == 0).await;
    let stored = copies(&server, &stream, &"x".repeat(BODY));
    let receipts = outcomes.len() - failed - unknown;
    assert!(
        (receipts..=receipts + unknown).contains(&stored),
        "{stored} stored, {receipts} receipts, {unknown} unknown"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_answers_is_given_up_however_short_the_timeout_of_publishing_is() {
    let server = Server::own(&[]);
    let proxy = way_to(&server).await;
    let stream = unique_stream("half-open");
    let client = through(&proxy).connect().await.unwrap();
    let publisher = client.publisher(stream.as_str()).timeout(Duration::from_millis(200)).await.unwrap();
    publisher.publish("first").await.expect("stored");
    let before = proxy.counters().accepted.len();
    proxy.set_black_hole(&[Direction::FromServer]);
    let error = publisher.publish("second").await.expect_err("no answer");
    assert!(error.is_unknown() && error.kind() == ErrorKind::Timeout, "{error:?}");
    // The next one does not wait behind it.
    let (_, counters) = tokio::join!(
        publisher.publish("third"),
        tokio::time::timeout(Duration::from_secs(5), proxy.until(|counters| counters.accepted.len() > before)),
    );
    counters.expect("another connection");
}

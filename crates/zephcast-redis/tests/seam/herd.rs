//! Many members whose server comes back.

use futures_util::future::join_all;
use zephcast_redis::{Consumer, Event};

use crate::network::{through, way_to};
use crate::prelude::*;

const MEMBERS: usize = 50;
/// Each has one for settling and one for reading.
const CONNECTIONS: usize = 2 * MEMBERS;
const AWAY: Duration = Duration::from_secs(2);
const ALL_BACK: Duration = Duration::from_secs(12);
const SLICE: Duration = Duration::from_millis(100);

/// Waits for such an event of each.
async fn all_said(consumers: &mut [(Consumer, zephcast_redis::Events)], wanted: fn(&Event) -> bool) {
    let waits = consumers
        .iter_mut()
        .map(|(_, events)| async move { while !wanted(&events.next().await.expect("the consumer lives")) {} });
    tokio::time::timeout(ALL_BACK, join_all(waits)).await.expect("every member says so in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_members_come_back_soon_and_not_all_at_once() {
    let server = Server::own(&[]);
    let proxy = way_to(&server).await;
    let stream = unique_stream("herd");
    let joining = (0..MEMBERS).map(|_| async {
        let client = through(&proxy).connect().await.expect("a connection");
        let consumer = client.consumer(stream.as_str()).group("g").start().await.expect("joined");
        let events = consumer.events();
        (consumer, events)
    });
    let mut consumers = join_all(joining).await;
    proxy.until(|counters| counters.open == CONNECTIONS).await;

    proxy.down().await;
    proxy.reset();
    all_said(&mut consumers, |event| matches!(event, Event::Disconnected(_))).await;
    // For so long that everybody tries again some times, and waits.
    tokio::time::sleep(AWAY).await;
    let before = proxy.counters().accepted.len();
    proxy.up().await.expect("the port is still ours");
    let up = tokio::time::Instant::now();
    all_said(&mut consumers, |event| matches!(event, Event::Reconnected(_))).await;

    let accepted = &proxy.counters().accepted[before..];
    let mut slices = [0; 200];
    for at in accepted {
        slices[(at.saturating_duration_since(up).as_millis() / SLICE.as_millis()) as usize] += 1;
    }
    let peak = slices.iter().max().expect("not empty");
    assert!(*peak <= CONNECTIONS * 2 / 5, "{peak} of {CONNECTIONS} within {SLICE:?}: {slices:?}");
    assert!(accepted.len() <= CONNECTIONS * 3 / 2, "{} connections for {CONNECTIONS}", accepted.len());

    // They are at work again, all of them.
    let near = server.driver().await;
    publish(&near, &stream, &messages(MEMBERS)).await;
    let handled = join_all(consumers.iter_mut().map(|(consumer, _)| async {
        let mut handled = 0;
        while let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_millis(500), consumer.next()).await {
            delivery.expect("a delivery").ack_confirmed().await.expect("ours");
            handled += 1;
        }
        handled
    }));
    assert_eq!(handled.await.into_iter().sum::<usize>(), MEMBERS);
}

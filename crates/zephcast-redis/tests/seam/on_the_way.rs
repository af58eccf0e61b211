//! What is on its way when the network is slow or silent for a while: acks and leaving.

use crate::network::{Direction, through, way_to};
use crate::prelude::*;

/// How many entries the group has not settled.
fn pending(server: &Server, stream: &StreamName) -> String {
    server.cli(&["XPENDING", stream.as_str(), "g"]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_waits_for_acks_that_are_on_their_way() {
    const MESSAGES: usize = 300;
    let server = Server::own(&[]);
    let near = server.driver().await;
    let proxy = way_to(&server).await;
    let stream = unique_stream("leaves");
    let client = through(&proxy).connect().await.unwrap();
    let mut consumer =
        client.consumer(stream.as_str()).group("g").ack_flush(50, Duration::from_millis(1)).start().await.unwrap();
    let member = consumer.member().to_string();
    publish(&near, &stream, &messages(MESSAGES)).await;
    let mut held = Vec::new();
    while held.len() < MESSAGES {
        held.push(consumer.next().await.expect("not ended").expect("a delivery"));
    }
    proxy.set_latency(Duration::from_millis(100));
    held.into_iter().for_each(|delivery| delivery.ack().expect("ours"));
    let report = consumer.close(Duration::from_secs(10)).await.expect("closed");
    // What the report says is so at that moment, not only soon.
    assert_eq!(pending(&server, &stream), "0");
    assert!(report.clean && report.acked == MESSAGES as u64 && report.returned == 0, "{report:?}");
    let members = server.cli(&["XINFO", "CONSUMERS", stream.as_str(), "g"]);
    assert!(!members.contains(&member), "{members}");

    let next = server.config().connect().await.unwrap();
    let mut next = next.consumer(stream.as_str()).group("g").start().await.unwrap();
    publish(&near, &stream, &[Message::new("new")]).await;
    let delivery = next.next().await.expect("not ended").expect("a delivery");
    assert_eq!(delivery.payload_str().unwrap(), "new", "nothing comes again");
    delivery.ack_confirmed().await.expect("ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_into_a_black_hole_is_durable_or_its_message_comes_again() {
    let server = Server::own(&[]);
    for hole in [&[Direction::FromClient][..], &[Direction::FromServer], Direction::BOTH] {
        let near = server.driver().await;
        let proxy = way_to(&server).await;
        let stream = unique_stream("hole");
        let client = through(&proxy).command_timeout(Duration::from_millis(500)).connect().await.unwrap();
        let lease = Duration::from_secs(10);
        let mut consumer = client.consumer(stream.as_str()).group("g").lease(lease).start().await.unwrap();
        publish(&near, &stream, &messages(2)).await;
        let first = consumer.next().await.expect("not ended").expect("a delivery");
        let second = consumer.next().await.expect("not ended").expect("a delivery");
        proxy.set_black_hole(hole);
        let acking = tokio::spawn(first.ack_confirmed());
        // Something of the exchange has vanished; what was sent is not repeated on this connection.
        proxy.until(|counters| counters.swallowed > 0).await;
        proxy.set_black_hole(&[]);
        let acked = tokio::time::timeout(lease, acking).await.expect("an answer within the lease").expect("no panic");
        match acked {
            Ok(()) => assert_eq!(pending(&server, &stream), "1", "durable when it says so, {hole:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error:?}, {hole:?}");
                let again = tokio::time::timeout(lease * 3, consumer.next()).await.expect("it comes again");
                assert_eq!(again.expect("not ended").expect("a delivery").payload_str().unwrap(), "m0");
            }
        }
        // What was held meanwhile, and whatever comes now, is settled as usual.
        second.ack_confirmed().await.expect("ours");
        publish(&near, &stream, &[Message::new("after")]).await;
        let after = tokio::time::timeout(lease, consumer.next()).await.expect("goes on").expect("not ended");
        let after = after.expect("a delivery");
        assert_eq!(after.payload_str().unwrap(), "after", "{hole:?}");
        after.ack_confirmed().await.expect("ours");
        assert_eq!(pending(&server, &stream), "0", "{hole:?}");
    }
}

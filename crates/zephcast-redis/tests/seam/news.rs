//! Between two fetches nothing lies around that nobody renews.

use crate::prelude::*;

/// One message of a dead member of the group, and a member that lives.
async fn beside_a_suspect(server: &Server, stream: &StreamName) -> (Arc<RedisDriver>, Joined) {
    let driver = server.driver().await;
    publish(&driver, stream, &messages(1)).await;
    let mut dying = Joined::new(&driver, stream, "dying").await;
    dying.receive(1).await;
    dying.die();
    let living = Joined::with(&driver, stream, |s| {
        s.member = MemberName::new("living").expect("a valid name");
        // So that its reads block for as long as they may.
        s.lease = Duration::from_secs(60);
    });
    let living = living.await;
    (driver, living)
}

#[tokio::test(flavor = "multi_thread")]
async fn word_of_suspects_leaves_no_read_behind() {
    let server = Server::any();
    let stream = unique_stream("no-read-behind");
    let (driver, mut living) = beside_a_suspect(&server, &stream).await;
    living.told_of_suspects().await;
    publish(&driver, &stream, &messages(3)).await;
    // The engine may be at suspects for long: what it does not fetch must stay for others.
    let held = server.cli(&["XPENDING", stream.as_str(), "g", "-", "+", "10", "living"]);
    assert_eq!(held, "", "read by nobody's wish");
    assert_eq!(living.receive(3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_while_the_window_is_full_is_renewed_and_handed_out_once() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("waits");
    let mut member = Joined::new(&driver, &stream, "member").await;
    publish(&driver, &stream, &messages(4)).await;
    let before = member.receive(4).await;
    assert!(member.ack(&before).await.is_empty());
    let mut giver = Joined::with(&driver, &stream, |s| s.lease = Duration::from_secs(60)).await;
    publish(&driver, &stream, &messages(2)).await;
    let given = giver.receive(2).await;
    giver.leave(&[(given[0].token, 0), (given[1].token, 0)]).await;
    // Of two that come back one is gone from the stream: the other lies in the member while that is said.
    server.cli(&["XDEL", stream.as_str(), &crate::member::position(&given[0]).to_string()]);
    assert_eq!(member.told_of_missing().await, 1);
    let other = Joined::new(&driver, &stream, "other").await;
    // Longer than the lease without a fetch, then with a full window; renewed as by an engine that knows of nothing.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(member.renew(&[]).await.is_empty());
        other.renew(&[]).await;
    }
    publish(&driver, &stream, &[Message::new("fresh")]).await;
    for _ in 0..5 {
        member.wait_with_full_window().await;
        assert!(member.renew(&[]).await.is_empty());
        other.renew(&[]).await;
    }
    let received = member.receive(2).await;
    let mut payloads: Vec<_> = received.iter().map(|incoming| incoming.message.payload_str().unwrap()).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, ["fresh", "m1"]);
    assert!(received.iter().all(|incoming| incoming.attempt == 1 && !incoming.suspect));
    assert!(member.ack(&received).await.is_empty(), "nobody took them over meanwhile");
}

//! Publishing and receiving.

use crate::prelude::*;

fn payloads(received: &[Incoming]) -> Vec<String> {
    received.iter().map(|incoming| incoming.message.payload_str().expect("text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_fetched_acked_and_left() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("basic");
    let batch: Vec<Message> = messages(10).into_iter().map(|m| m.with_key("k").with_header("h", "v")).collect();
    let positions = publish(&driver, &stream, &batch).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(10).await;
    assert_eq!(received.iter().map(|incoming| incoming.message.clone()).collect::<Vec<_>>(), batch);
    assert_eq!(
        received.iter().map(|incoming| incoming.origin.1).collect::<Vec<_>>(),
        positions.iter().map(|p| p.token).collect::<Vec<_>>()
    );
    assert!(received.iter().all(|incoming| incoming.attempt == 1 && !incoming.suspect));
    assert!(member.ack(&received).await.is_empty());
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('0'));
    member.leave(&[]).await;
    assert!(!server.cli(&["XINFO", "CONSUMERS", stream.as_str(), "g"]).contains("name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_plain_for_other_clients() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("plain");
    let message = Message::new("body").with_key("k").with_header("h", "v").with_id(MessageId::new("id-1"));
    publish(&driver, &stream, &[message]).await;
    let entry = server.cli(&["XRANGE", stream.as_str(), "-", "+"]);
    let fields: Vec<&str> = entry.lines().skip(1).collect();
    assert_eq!(fields, ["data", "body", "zephcast-id", "id-1", "zephcast-key", "k", "h", "v"]);

    server.cli(&["XADD", stream.as_str(), "*", "a", "1", "a", "2", "zephcast-origin", "forged"]);
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(2).await;
    let foreign = &received[1].message;
    assert!(!foreign.has_payload() && foreign.id().is_none());
    let headers: Vec<_> =
        foreign.headers().iter().map(|(name, value)| (name.clone(), value.unwrap().clone())).collect();
    assert_eq!(headers, [("a".into(), "1".into()), ("a".into(), "2".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_carried_is_refused_alone() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("refused");
    let sink = driver.open_sink(&stream, true).await.unwrap();
    let batch =
        [Message::new("a"), Message::without_payload(), Message::new("c").with_header("data", "x"), Message::new("d")];
    let outcomes = sink.publish(&batch).await;
    let kinds: Vec<_> = outcomes.iter().map(|o| o.as_ref().err().map(|e| (e.kind(), e.is_unknown()))).collect();
    let refused = Some((ErrorKind::InvalidInput, false));
    assert_eq!(kinds, [None, refused, refused, None]);
    assert_eq!(server.cli(&["XLEN", stream.as_str()]), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_keep_the_order_of_their_calls() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("order");
    let sink = driver.open_sink(&stream, true).await.unwrap();
    let batches: Vec<Vec<Message>> =
        (0..50).map(|b| (0..20).map(|n| Message::new(format!("{:04}", b * 20 + n))).collect()).collect();
    let outcomes = futures_util::future::join_all(batches.iter().map(|batch| sink.publish(batch))).await;
    assert!(outcomes.iter().flatten().all(Result::is_ok));
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = payloads(&member.receive(1_000).await);
    assert_eq!(received, (0..1_000).map(|n| format!("{n:04}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_fetch_gets_what_is_published_and_ends_when_interrupted() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("waiting");
    let mut member = Joined::new(&driver, &stream, "a").await;
    let batch = messages(1);
    let (received, _) = tokio::join!(member.receive(1), publish(&driver, &stream, &batch));
    assert_eq!(payloads(&received), ["m0"]);

    let settler = member.settler.clone();
    let began = Instant::now();
    let (fetched, ()) = tokio::join!(member.fetch(1), async { settler.interrupt() });
    assert!(matches!(fetched, Fetched::Idle), "{fetched:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_bounds_what_is_handed_out() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("credit");
    let large: Vec<Message> = (0..40).map(|_| Message::new(vec![7_u8; 10_000])).collect();
    publish(&driver, &stream, &large).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let Fetched::Batch(one) = member.fetch(1).await else { panic!("no batch") };
    assert_eq!(one.messages.len(), 1);
    let credit = Credit { messages: 1_000, bytes: 50_000, suspect: false };
    let mut received = 1;
    while received < 40 {
        let Fetched::Batch(batch) = member.intake.fetch(credit).await.unwrap() else { continue };
        assert!(batch.messages.len() <= 5, "{} messages of 10,000 bytes in 50,000", batch.messages.len());
        received += batch.messages.len();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_starts_where_it_was_told_to() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("start");
    let positions = publish(&driver, &stream, &messages(5)).await;
    let from = |start| {
        let driver = driver.clone();
        let stream = stream.clone();
        async move {
            let group = GroupName::new(format!("g{}", fastrand_like())).unwrap();
            let member = Joined::with(&driver, &stream, |s| {
                s.group = group.clone();
                s.start = start;
            });
            member.await
        }
    };
    let mut latest = from(Start::Latest).await;
    let mut third = from(Start::Position(positions[2])).await;
    let mut by_time = from(Start::Time(positions[0].token.0)).await;
    let mut future = from(Start::Time(positions[0].token.0 + 1_000_000)).await;
    let mut earliest = from(Start::Earliest).await;
    publish(&driver, &stream, &[Message::new("new")]).await;
    assert_eq!(payloads(&latest.receive(1).await), ["new"]);
    assert_eq!(payloads(&third.receive(4).await), ["m2", "m3", "m4", "new"]);
    assert_eq!(payloads(&by_time.receive(6).await)[0], "m0");
    assert_eq!(payloads(&earliest.receive(6).await)[0], "m0");
    let settler = future.settler.clone();
    let (fetched, ()) = tokio::join!(future.fetch(1), async { settler.interrupt() });
    assert!(matches!(fetched, Fetched::Idle), "{fetched:?}");
}

/// A number that differs from call to call.
fn fastrand_like() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

//! A client that is closed, and a password that changes, while members are at work.

use crate::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_client_ends_its_consumers_with_closed() {
    let server = Server::own(&[]);
    let client = server.config().connect().await.unwrap();
    let stream = unique_stream("closing");
    let mut consumer = client.consumer(stream.as_str()).group("g").start().await.unwrap();
    client.publisher(stream.as_str()).await.unwrap().publish(Message::new("x")).await.unwrap();
    let held = consumer.next().await.unwrap().unwrap();
    let next = async { tokio::time::timeout(Duration::from_secs(5), consumer.next()).await.expect("not silent") };
    let (ended, closed) = tokio::join!(next, client.close(Duration::from_secs(1)));
    closed.expect("closed");
    let error = ended.expect("an error before the end").expect_err("no delivery");
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    let ack = tokio::time::timeout(Duration::from_secs(5), held.ack_confirmed()).await.expect("an answer");
    assert_eq!(ack.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_is_waited_for() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("password");
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    server.cli(&["CONFIG", "SET", "requirepass", "s3cret"]);
    server.cli(&["-a", "s3cret", "CLIENT", "KILL", "TYPE", "normal"]);
    let credit = Credit { messages: 9, bytes: 9_999, suspect: false };
    let mut refusals = 0;
    let until = Instant::now() + Duration::from_secs(10);
    while refusals < 3 {
        assert!(Instant::now() < until, "no refusal");
        if let Err(error) = member.intake.fetch(credit).await {
            assert!(error.is_retryable(), "{error:?}");
            refusals += usize::from(error.to_string().contains("credentials"));
        }
    }
    let stranger = RedisDriver::connect(server.config()).await.unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::Auth, "who was never let in is told at once");
    server.cli(&["-a", "s3cret", "CONFIG", "SET", "requirepass", ""]);
    server.cli(&["XADD", stream.as_str(), "*", "data", "after"]);
    assert_eq!(member.receive(1).await.len(), 1);
}

/// Calls of every sort wait for a server that is stopped: a read, acks, a publish.
#[test]
fn a_runtime_is_dropped_at_once_before_a_server_that_is_silent() {
    let server = Server::own(&[]);
    let stream = unique_stream("silent");
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let consumer = async || {
        let client = server.config().connect().await.unwrap();
        client.consumer(stream.as_str()).group("g").lease(Duration::from_secs(1)).start().await.unwrap()
    };
    let first = runtime();
    let left = first.block_on(async {
        let client = server.config().connect().await.unwrap();
        let mut consumer = consumer().await;
        let publisher = client.publisher(stream.as_str()).await.unwrap();
        for n in 0..10 {
            publisher.publish(n.to_string()).await.unwrap();
        }
        let mut held = Vec::new();
        while held.len() < 5 {
            held.push(consumer.next().await.unwrap().unwrap());
        }
        server.signal("-STOP");
        held.drain(..2).for_each(|delivery| delivery.ack().unwrap());
        let pending = publisher.enqueue("10").await.unwrap();
        // Long enough for each call to be on its way, a renewal too.
        tokio::time::sleep(Duration::from_millis(500)).await;
        (held, pending, publisher, consumer, client)
    });
    let began = Instant::now();
    drop(first);
    drop(left);
    let took = began.elapsed();
    server.signal("-CONT");
    assert!(took < Duration::from_secs(1), "dropping the runtime took {took:?}");
    runtime().block_on(async {
        let mut heir = consumer().await;
        let mut missing: std::collections::BTreeSet<_> = (2..10).map(|n| n.to_string()).collect();
        while !missing.is_empty() {
            let next = tokio::time::timeout(Duration::from_secs(20), heir.next()).await;
            let delivery = next.unwrap_or_else(|_| panic!("{missing:?} did not come")).unwrap().unwrap();
            missing.remove(delivery.payload_str().unwrap());
            delivery.ack().unwrap();
        }
    });
}

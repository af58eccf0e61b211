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

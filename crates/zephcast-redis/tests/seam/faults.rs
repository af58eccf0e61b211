//! Connections that break, servers that vanish, data that vanishes.

use crate::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_connection_loses_and_repeats_nothing_that_is_held() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("killed");
    publish(&driver, &stream, &messages(20)).await;
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    let held = member.receive(5).await;
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    let mut seen = held.iter().map(|incoming| incoming.token).collect::<Vec<_>>();
    let mut again = 0;
    while seen.len() < 20 {
        match member.intake.fetch(Credit { messages: 20, bytes: 1 << 20, suspect: false }).await {
            Ok(Fetched::Batch(batch)) => {
                for incoming in batch.messages {
                    assert!(!incoming.suspect && incoming.attempt == 1, "an innocent is no suspect");
                    if seen.contains(&incoming.token) { again += 1 } else { seen.push(incoming.token) }
                }
            }
            Ok(_) => {}
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    assert!(again <= 5, "only what was held may be listed again, which the engine knows");
    assert_eq!(seen.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_again_after_a_restart() {
    let mut server = Server::own(&["--appendonly", "yes", "--appendfsync", "always"]);
    let driver = server.driver().await;
    let stream = unique_stream("restart");
    let sink = driver.open_sink(&stream, true).await.unwrap();
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    sink.publish(&messages(1)).await.pop().unwrap().unwrap();
    let first = member.receive(1).await;
    server.kill();
    let refused = sink.publish(&messages(1)).await.pop().unwrap().unwrap_err();
    assert!(refused.error().is_retryable(), "{refused:?}");
    let began = Instant::now();
    let error = member.intake.fetch(Credit { messages: 1, bytes: 1, suspect: false }).await.unwrap_err();
    assert!(error.is_retryable() && began.elapsed() < Duration::from_secs(2), "{error:?}");
    assert!(member.settler.settle(&Settlement::default()).await.is_ok());
    server.start(&["--appendonly", "yes", "--appendfsync", "always"]);
    while sink.publish(&[Message::new("after")]).await.pop().unwrap().is_err() {}
    let mut after = None;
    while after.is_none() {
        match member.intake.fetch(Credit { messages: 9, bytes: 9_999, suspect: false }).await {
            Ok(Fetched::Batch(batch)) => after = batch.messages.into_iter().find(|i| i.token != first[0].token),
            Ok(_) => {}
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    assert_eq!(after.unwrap().message.payload_str().unwrap(), "after");
    assert!(member.ack(&first).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_group_is_created_again() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("flushed");
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    publish(&driver, &stream, &messages(1)).await;
    let held = member.receive(1).await;
    server.cli(&["FLUSHALL"]);
    publish(&driver, &stream, &[Message::new("after")]).await;
    // Told before the first message of its new life.
    loop {
        match member.fetch(1).await {
            Fetched::Event(Event::Recreated) => break,
            Fetched::Batch(batch) => panic!("nobody was told that the group was gone: {batch:?}"),
            _ => {}
        }
    }
    let received = member.receive(1).await;
    assert_eq!(received[0].message.payload_str().unwrap(), "after");
    assert!(member.renew(&received).await.is_empty());
    member.ack(&held).await;
    assert!(member.ack(&received).await.is_empty());
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('0'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_began_at_the_latest_skips_nothing_when_it_is_created_again() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("flushed-latest");
    publish(&driver, &stream, &messages(1)).await;
    let mut member = Joined::with(&driver, &stream, |s| s.start = Start::Latest).await;
    server.cli(&["FLUSHALL"]);
    // Published before anybody notices.
    publish(&driver, &stream, &[Message::new("between")]).await;
    let received = member.receive(1).await;
    assert_eq!(received[0].message.payload_str().unwrap(), "between");
    // Also by a member that found the group as it was.
    let mut second = Joined::with(&driver, &stream, |s| s.start = Start::Latest).await;
    member.leave(&[(received[0].token, 0)]).await;
    server.cli(&["FLUSHALL"]);
    publish(&driver, &stream, &[Message::new("between")]).await;
    assert_eq!(second.receive(1).await[0].message.payload_str().unwrap(), "between");
}

#[tokio::test(flavor = "multi_thread")]
async fn short_memory_and_replicas_refuse_for_certain() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("refusing");
    let sink = driver.open_sink(&stream, true).await.unwrap();
    sink.publish(&messages(2)).await.into_iter().for_each(|outcome| assert!(outcome.is_ok()));
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    let held = member.receive(2).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = sink.publish(&messages(1)).await.pop().unwrap().unwrap_err();
    assert_eq!((refused.kind(), refused.is_unknown()), (ErrorKind::Blocked, false));
    assert!(member.renew(&held).await.is_empty(), "a lease does not end for want of memory");
    assert!(member.ack(&held[..1]).await.is_empty());
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = sink.publish(&messages(1)).await.pop().unwrap().unwrap_err();
    assert_eq!((refused.kind(), refused.is_unknown()), (ErrorKind::Blocked, false));
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    assert!(sink.publish(&messages(1)).await.pop().unwrap().is_ok());
    assert!(member.ack(&held[1..]).await.is_empty());
    assert_eq!(server.cli(&["XLEN", stream.as_str()]), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_no_hang() {
    let server = Server::own(&[]);
    let config = server.config().command_timeout(Duration::from_millis(400)).connect_timeout(Duration::from_secs(1));
    let driver = RedisDriver::connect(config).await.unwrap();
    let stream = unique_stream("stopped");
    let sink = driver.open_sink(&stream, true).await.unwrap();
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    server.signal("-STOP");
    let began = Instant::now();
    let batch = messages(1);
    let (outcomes, fetched) =
        tokio::join!(sink.publish(&batch), member.intake.fetch(Credit { messages: 1, bytes: 1, suspect: false }));
    let unknown = outcomes[0].as_ref().unwrap_err();
    assert!(unknown.is_unknown(), "{unknown:?}");
    assert_eq!(unknown.kind(), ErrorKind::Timeout);
    assert!(fetched.unwrap_err().is_retryable());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    server.signal("-CONT");
    let mut came = false;
    while !came {
        if let Ok(Fetched::Batch(_)) = member.intake.fetch(Credit { messages: 1, bytes: 1, suspect: false }).await {
            came = true;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_fails_at_once_and_what_may_later_after_the_timeout() {
    let server = Server::own(&["--requirepass", "s3cret"]);
    for config in
        [server.config(), server.config().password("canary"), server.config().user("nobody").password("canary")]
    {
        let began = Instant::now();
        let error = RedisDriver::connect(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    assert!(RedisDriver::connect(server.config().password("s3cret")).await.is_ok());
    let error = RedisDriver::connect(server.config().password("s3cret").database(99)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");

    let nobody = RedisConfig::new("127.0.0.1", 1).connect_timeout(Duration::from_millis(500));
    let began = Instant::now();
    let error = RedisDriver::connect(nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    assert!((Duration::from_millis(400)..Duration::from_secs(2)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_driver_says_so() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("closed");
    let sink = driver.open_sink(&stream, true).await.unwrap();
    driver.close(Duration::from_secs(1)).await.unwrap();
    driver.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(sink.publish(&messages(1)).await[0].as_ref().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(driver.group_status(&stream, &group()).await.unwrap_err().kind(), ErrorKind::Closed);
}

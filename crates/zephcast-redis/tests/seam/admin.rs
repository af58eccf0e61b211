//! Streams, groups, status, trimming, check, and what is refused.

use zephcast_core::driver::StreamSpec;

use crate::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_created_listed_shown_and_deleted() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("created");
    let mut spec = StreamSpec::new(stream.clone());
    spec.groups = vec![group()];
    driver.admin().create_stream(&spec).await.unwrap();
    driver.admin().create_stream(&spec).await.unwrap();
    publish(&driver, &stream, &messages(2)).await;
    let shown = driver.admin().stream(&stream).await.unwrap();
    assert_eq!((shown.depth, shown.groups), (Some(2), Some(vec![group()])));
    let listed = driver.admin().streams().await.unwrap();
    assert!(listed.iter().any(|listed| listed.stream == stream));
    assert!(listed.iter().all(|listed| !listed.stream.as_str().contains(".retry")), "helpers are not listed");
    driver.admin().delete_stream(&stream).await.unwrap();
    assert_eq!(server.cli(&["KEYS", &format!("*{stream}*")]), "");
    assert_eq!(driver.admin().stream(&stream).await.unwrap_err().kind(), ErrorKind::NotFound);
    spec.partitions = Some(3);
    assert_eq!(driver.admin().create_stream(&spec).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_created_in_advance_gets_everything_from_then_on() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("advance");
    assert_eq!(
        driver.admin().create_group(&stream, &group(), Start::Latest).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    publish(&driver, &stream, &messages(1)).await;
    driver.admin().create_group(&stream, &group(), Start::Latest).await.unwrap();
    publish(&driver, &stream, &[Message::new("after")]).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    assert_eq!(member.receive(1).await[0].message.payload_str().unwrap(), "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_counts_everything_unsettled_and_judges_members() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("status");
    let missing = driver.group_status(&stream, &group()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains(stream.as_str()), "{missing}");
    let positions = publish(&driver, &stream, &messages(10)).await;
    assert_eq!(driver.group_status(&stream, &group()).await.unwrap_err().kind(), ErrorKind::NotFound);

    let mut member = Joined::new(&driver, &stream, "a").await;
    let held = member.receive(4).await;
    member.ack(&held[..1]).await;
    let later = Disposition::Later {
        delay: Duration::from_secs(60),
        attempts: 0,
        message: Box::new(held[1].message.clone()),
        origin: crate::member::position(&held[1]),
        published_ms: None,
        first_failed_ms: None,
    };
    member.other(&held[1], later).await;
    let status = driver.group_status(&stream, &group()).await.unwrap();
    assert_eq!(
        (status.lag, status.in_flight, status.delayed, status.dead_letters),
        (Some(9), Some(2), Some(1), Some(0))
    );
    assert!(status.oldest_pending.is_some());
    assert_eq!(status.members.len(), 1);
    assert_eq!((status.members[0].name.as_str(), status.members[0].state), ("a", MemberState::Active));
    assert_eq!(status.members[0].in_flight, Some(2));

    // A deletion in the unread range: Redis itself says nil now.
    server.cli(&["XDEL", stream.as_str(), &positions[7].to_string()]);
    let status = driver.group_status(&stream, &group()).await.unwrap();
    assert_eq!(status.lag, Some(8));

    let tokens = held[2..].iter().map(|incoming| incoming.token).collect();
    let renewal = Renewal { held: vec![Held { unit: UnitId(0), tokens }], oldest: Some(Duration::from_secs(5)) };
    member.settler.renew(renewal).await.unwrap();
    let status = driver.group_status(&stream, &group()).await.unwrap();
    assert_eq!(status.members[0].state, MemberState::Stuck);
    assert_eq!(status.members[0].oldest_delivery, Some(Duration::from_secs(5)));
    let silent = Instant::now();
    loop {
        let status = driver.group_status(&stream, &group()).await.unwrap();
        if status.members[0].state == MemberState::Dead {
            break;
        }
        assert!(silent.elapsed() < Duration::from_secs(5), "a silent member is never called dead");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trimming_keeps_what_the_slowest_group_needs() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("trim");
    publish(&driver, &stream, &messages(10)).await;
    assert_eq!(driver.admin().trim(&stream).await.unwrap(), 0, "without a group everything is kept");
    let mut fast = Joined::with(&driver, &stream, |s| s.group = GroupName::new("fast").unwrap()).await;
    let all = fast.receive(10).await;
    fast.ack(&all).await;
    let mut slow = Joined::new(&driver, &stream, "slow").await;
    let some = slow.receive(5).await;
    slow.ack(&some[..2]).await;
    assert_eq!(driver.admin().trim(&stream).await.unwrap(), 2);
    assert_eq!(server.cli(&["XLEN", stream.as_str()]), "8");
    slow.ack(&some[2..]).await;
    let rest = slow.receive(5).await;
    slow.ack(&rest).await;
    assert_eq!(driver.admin().trim(&stream).await.unwrap(), 7, "what was read last stays");
    let missing = driver.admin().trim(&unique_stream("none")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_version_and_risks() {
    let server = Server::own(&["--maxmemory-policy", "allkeys-lru"]);
    let driver = server.driver().await;
    let check = driver.admin().check().await.unwrap();
    assert!(check.version.split('.').count() >= 2, "{}", check.version);
    let kinds: Vec<&str> = check.warnings.iter().map(|warning| warning.kind).collect();
    assert_eq!(kinds, ["evicting_policy", "not_durable"]);

    server.cli(&[
        "ACL",
        "SETUSER",
        "small",
        "on",
        ">pw",
        "~*",
        "+ping",
        "+info",
        "+acl",
        "+xadd",
        "+xreadgroup",
        "+client",
    ]);
    let config = server.config().user("small").password("pw");
    let driver = RedisDriver::connect(config).await.unwrap();
    let check = driver.admin().check().await.unwrap();
    let rights = check.warnings.iter().find(|warning| warning.kind == "missing_rights").expect("a warning");
    assert!(rights.message.contains("XACK") && !rights.message.contains("XADD"), "{}", rights.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kind_of_key_is_refused() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("wrong");
    let sink = driver.open_sink(&stream, true).await.unwrap();
    server.cli(&["SET", stream.as_str(), "x"]);
    let wrong = ErrorKind::WrongType;
    assert_eq!(sink.publish(&messages(1)).await[0].as_ref().unwrap_err().kind(), wrong);
    assert_eq!(driver.open_sink(&stream, true).await.err().unwrap().kind(), wrong);
    let subscription = Subscription::new(stream.clone(), group());
    assert_eq!(driver.join(subscription).await.err().unwrap().kind(), wrong);
    assert_eq!(driver.admin().create_stream(&StreamSpec::new(stream.clone())).await.unwrap_err().kind(), wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_stream_is_created_only_on_request() {
    let server = Server::any();
    let driver = server.driver().await;
    let mut subscription = Subscription::new(unique_stream("absent"), group());
    subscription.create = false;
    assert_eq!(driver.join(subscription.clone()).await.err().unwrap().kind(), ErrorKind::NotFound);
    subscription.create = true;
    assert!(driver.join(subscription).await.is_ok());
}

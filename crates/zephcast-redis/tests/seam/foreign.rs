//! What other programs leave where a group works.

use crate::prelude::*;
use crate::settle::later;

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_with_too_many_fields_fails_alone_and_can_be_acked() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("many-fields");
    let fields: Vec<String> = (0..4_001).flat_map(|n| [format!("f{n}"), "v".to_owned()]).collect();
    let mut entry = vec!["XADD", stream.as_str(), "*"];
    entry.extend(fields.iter().map(String::as_str));
    server.cli(&entry);
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(1).await;
    assert_eq!(received[0].message.headers().len(), 4_001);
    let dead = Disposition::Dead {
        message: Box::new(received[0].message.clone()),
        origin: crate::member::position(&received[0]),
        published_ms: None,
        attempts: 1,
        failure: crate::member::failure(),
    };
    for disposition in [later(&received[0], Duration::ZERO, 1), dead] {
        let mut unit = UnitSettlements::new(UnitId(0));
        unit.others.push((received[0].token, disposition));
        let refused = member.settler.settle(&Settlement { again: false, units: vec![unit] }).await.unwrap_err();
        assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::TooLarge, false));
        assert!(refused.to_string().contains("fields"), "{refused}");
    }
    assert!(member.ack(&received).await.is_empty());
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('0'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_or_an_id_out_of_bounds_is_no_panic() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("bounds");
    let mut member = Joined::new(&driver, &stream, "a").await;
    let retry = format!("{{{stream}}}.g.retry");
    server.cli(&["XADD", &retry, "*", "data", "x", "zephcast-attempts", "18446744073709551615"]);
    assert_eq!(member.receive(1).await[0].attempt, u32::MAX);
    server.cli(&["XADD", stream.as_str(), "5-9223372036854775808", "data", "x"]);
    let refused = member.intake.fetch(Credit { messages: 1, bytes: 1, suspect: false }).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("5-9223372036854775808"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_kind_and_a_stream_that_is_missing_are_named() {
    let server = Server::any();
    let driver = server.driver().await;
    for kind in ["retry", "delayed", "dead", "members"] {
        let stream = unique_stream("taken");
        let key = format!("{{{stream}}}.g.{kind}");
        server.cli(&["SET", &key, "mine"]);
        let refused = driver.join(Subscription::new(stream, group())).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::WrongType);
        assert!(refused.to_string().contains(&key), "{refused}");
    }
    let stream = unique_stream("missing");
    let mut subscription = Subscription::new(stream.clone(), group());
    subscription.create = false;
    let refused = driver.join(subscription).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.to_string().contains(stream.as_str()), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_refused_is_an_error() {
    let server = Server::own(&[]);
    let user = ["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all"];
    assert_eq!(server.cli(&user), "OK");
    let driver = RedisDriver::connect(server.config().user("app").password("pw")).await.unwrap();
    let stream = unique_stream("renewal");
    let member = Joined::new(&driver, &stream, "a").await;
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "-hset"]), "OK");
    assert_eq!(member.settler.renew(Renewal::default()).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "+hset"]), "OK");
    let members = format!("{{{stream}}}.g.members");
    server.cli(&["SET", &members, "mine"]);
    let refused = member.settler.renew(Renewal::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongType);
    assert!(refused.to_string().contains(&members), "{refused}");
}

//! Rights that are missing, replicas, streams that are not there: refused before anything is done by halves.

use crate::member::dead;
use crate::prelude::*;
use crate::settle::later;

const LATER: Duration = Duration::from_secs(60);

/// A driver of the user `app`, who may do everything until a test takes a right away.
async fn as_app(server: &Server) -> Arc<RedisDriver> {
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all"]), "OK");
    RedisDriver::connect(server.config().user("app").password("pw")).await.expect("a connection")
}

async fn settle(member: &Joined, incoming: &Incoming, disposition: Disposition) -> ErrorKind {
    let mut unit = UnitSettlements::new(UnitId(0));
    unit.others.push((incoming.token, disposition));
    let settlement = Settlement { again: false, units: vec![unit] };
    member.settler.settle(&settlement).await.expect_err("refused").kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_leaves_no_copy_however_often_it_is_tried() {
    for right in ["xack", "xdel"] {
        let server = Server::own(&[]);
        let driver = as_app(&server).await;
        let stream = unique_stream("halves");
        publish(&driver, &stream, &messages(1)).await;
        let mut member = Joined::with(&driver, &stream, |_| ()).await;
        let held = member.receive(1).await.remove(0);
        assert_eq!(server.cli(&["ACL", "SETUSER", "app", &format!("-{right}")]), "OK");
        for _ in 0..3 {
            assert_eq!(settle(&member, &held, later(&held, LATER, 1)).await, ErrorKind::PermissionDenied, "{right}");
            assert_eq!(settle(&member, &held, dead(&held)).await, ErrorKind::PermissionDenied, "{right}");
        }
        assert_eq!(server.cli(&["ZCARD", &format!("{{{stream}}}.g.delayed")]), "0", "{right}");
        assert_eq!(server.cli(&["XLEN", &format!("{{{stream}}}.g.dead")]), "0", "{right}");
        assert_eq!(server.cli(&["ACL", "SETUSER", "app", "+@all"]), "OK");
        assert!(member.other(&held, later(&held, LATER, 1)).await.is_empty());
        assert_eq!(server.cli(&["ZCARD", &format!("{{{stream}}}.g.delayed")]), "1", "{right}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_not_copied_by_one_who_may_not_remove_it() {
    let server = Server::own(&[]);
    crate::log::listen();
    let driver = as_app(&server).await;
    let stream = unique_stream("due");
    publish(&driver, &stream, &messages(1)).await;
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    let held = member.receive(1).await.remove(0);
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "-zrem"]), "OK");
    assert!(member.other(&held, later(&held, Duration::from_millis(10), 1)).await.is_empty());
    crate::log::said(&[stream.as_str(), "nothing that is due is moved"]).await;
    assert_eq!(server.cli(&["XLEN", &format!("{{{stream}}}.g.retry")]), "0");
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "+@all"]), "OK");
    assert_eq!(member.receive(1).await[0].attempt, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_may_not_ack_is_refused_before_its_first_message() {
    let server = Server::own(&[]);
    let driver = as_app(&server).await;
    let stream = unique_stream("may-not-ack");
    publish(&driver, &stream, &messages(1)).await;
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "-xack"]), "OK");
    let Membership { mut intake, .. } = driver.join(Subscription::new(stream, group())).await.unwrap();
    let credit = Credit { messages: 1, bytes: 1 << 20, suspect: false };
    assert!(matches!(intake.fetch(credit).await, Ok(Fetched::Assigned(_))));
    assert_eq!(intake.fetch(credit).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_an_outage_until_it_takes_writes() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("replica");
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let credit = Credit { messages: 1, bytes: 1 << 20, suspect: false };
    // The read that was waiting is ended by the server.
    let mut failures = 0;
    while failures < 5 {
        match member.intake.fetch(credit).await {
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                failures += 1;
            }
            Ok(fetched) => assert!(failures == 0, "it looked reachable: {fetched:?}"),
        }
    }
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    publish(&driver, &stream, &messages(1)).await;
    loop {
        match member.intake.fetch(credit).await {
            Ok(Fetched::Batch(batch)) => break assert_eq!(batch.messages.len(), 1),
            Ok(_) => {}
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_to_be_made_is_not_found() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("typo");
    let refused = driver.open_sink(&stream, false).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.to_string().contains(stream.as_str()), "{refused}");
    publish(&driver, &stream, &messages(1)).await;
    let sink = driver.open_sink(&stream, false).await.expect("it exists");
    sink.publish(&messages(2)).await.into_iter().for_each(|outcome| assert!(outcome.is_ok()));
    server.cli(&["DEL", stream.as_str()]);
    for outcome in sink.publish(&messages(3)).await {
        let failed = outcome.unwrap_err();
        assert!(matches!(&failed, zephcast_core::PublishError::Failed(error) if error.kind() == ErrorKind::NotFound));
    }
    assert_eq!(server.cli(&["EXISTS", stream.as_str()]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_unread_is_no_lag() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("trimmed-unread");
    publish(&driver, &stream, &messages(50)).await;
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    let held = member.receive(20).await;
    assert!(member.ack(&held).await.is_empty());
    member.leave(&[]).await;
    for (left, lag) in [("30", 30), ("10", 10), ("0", 0)] {
        server.cli(&["XTRIM", stream.as_str(), "MAXLEN", left]);
        let status = driver.group_status(&stream, &group()).await.unwrap();
        assert_eq!(status.lag, Some(lag), "{left} entries are left");
    }
    publish(&driver, &stream, &messages(1)).await;
    assert_eq!(driver.group_status(&stream, &group()).await.unwrap().lag, Some(1));
}

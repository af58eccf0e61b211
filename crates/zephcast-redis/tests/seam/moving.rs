//! Groups that are moved or deleted: what is left at the server, and who counts as living.

use crate::prelude::*;
use crate::settle::later;

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_group_has_nothing_pending_on_its_stream_whoever_is_late() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("moved");
    let positions = publish(&driver, &stream, &messages(10)).await;
    let mut silent = Joined::new(&driver, &stream, "silent").await;
    let held = silent.receive(4).await;
    silent.other(&held[0], later(&held[0], Duration::ZERO, 1)).await;
    // The keeper moves it to the retry stream, and it is read again from there.
    while silent.receive(1).await[0].attempt == 1 {}
    let group = group();
    let seek = |to| driver.admin().seek_group(&stream, &group, to);
    let error = seek(Start::Position(positions[6])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("\"silent\""), "{error}");
    until_nobody_lives(&driver, &stream).await;
    seek(Start::Position(positions[6])).await.unwrap();
    assert_eq!(server.cli(&["XPENDING", stream.as_str(), "g"]).lines().next(), Some("0"));
    let status = driver.group_status(&stream, &group).await.unwrap();
    assert_eq!((status.lag, status.in_flight), (Some(4 + 1), Some(1)), "the copy stays: {status:?}");
    let late: Vec<Token> = held[1..].iter().map(|incoming| incoming.token).collect();
    assert_eq!(silent.ack(&held[1..]).await, late);
    // If all of it is lost, it begins at its new place.
    server.cli(&["XGROUP", "DESTROY", stream.as_str(), "g"]);
    let start = server.cli(&["HGET", &format!("{{{stream}}}.g.members"), "/start"]);
    assert_eq!(start, server.cli(&["EVAL", BEFORE, "1", stream.as_str(), &positions[6].to_string()]));
}

/// What a group reads after that is to begin at this entry.
const BEFORE: &str = "local ms, n = string.match(ARGV[1], '(%d+)-(%d+)') \
    if n ~= '0' then return ms .. '-' .. string.format('%.0f', n - 1) end \
    return string.format('%.0f', ms - 1) .. '-18446744073709551615'";

async fn until_nobody_lives(driver: &RedisDriver, stream: &StreamName) {
    let silent = Instant::now();
    let lives = async || {
        let members = driver.group_status(stream, &group()).await.expect("a status").members;
        members.iter().any(|member| member.state != MemberState::Dead)
    };
    while lives().await {
        assert!(silent.elapsed() < Duration::from_secs(10), "a silent member is never called dead");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_beyond_the_newest_entry_passes_over_nothing_to_come() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("beyond");
    publish(&driver, &stream, &messages(3)).await;
    driver.admin().create_group(&stream, &group(), Start::Earliest).await.unwrap();
    let far = Position::new(PositionStyle::EntryId, UnitId(0), Token(u64::MAX / 2, 0));
    for to in [Start::Time(u64::MAX / 2), Start::Position(far)] {
        driver.admin().seek_group(&stream, &group(), to).await.unwrap();
        assert_eq!(driver.group_status(&stream, &group()).await.unwrap().lag, Some(0), "{to:?}");
        publish(&driver, &stream, &messages(2)).await;
        assert_eq!(driver.group_status(&stream, &group()).await.unwrap().lag, Some(2), "{to:?}");
    }
    let foreign = Position::new(PositionStyle::UnitOffset, UnitId(0), Token(1, 0));
    let error = driver.admin().seek_group(&stream, &group(), Start::Position(foreign)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_consumer_that_reads_is_living() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("foreign");
    publish(&driver, &stream, &messages(3)).await;
    driver.admin().create_group(&stream, &group(), Start::Earliest).await.unwrap();
    server.cli(&["XREADGROUP", "GROUP", "g", "worker 1", "COUNT", "2", "STREAMS", stream.as_str(), ">"]);
    for refusal in [
        driver.admin().seek_group(&stream, &group(), Start::Latest).await,
        driver.admin().delete_group(&stream, &group()).await,
    ] {
        let error = refusal.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("worker 1"), "{error}");
    }
    assert_eq!(server.cli(&["XPENDING", stream.as_str(), "g"]).lines().next(), Some("2"));
    server.cli(&["XGROUP", "DELCONSUMER", stream.as_str(), "g", "worker 1"]);
    driver.admin().seek_group(&stream, &group(), Start::Earliest).await.unwrap();
    assert_eq!(driver.group_status(&stream, &group()).await.unwrap().lag, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_group_leaves_no_key() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("deleted");
    publish(&driver, &stream, &messages(3)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let held = member.receive(3).await;
    member.other(&held[0], later(&held[0], Duration::from_secs(60), 1)).await;
    member.other(&held[1], crate::member::dead(&held[1])).await;
    assert_eq!(driver.admin().delete_group(&stream, &group()).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(server.cli(&["DBSIZE"]), "5", "{}", server.cli(&["KEYS", "*"]));
    member.leave(&[(held[2].token, 1)]).await;
    driver.admin().delete_group(&stream, &group()).await.unwrap();
    assert_eq!(server.cli(&["KEYS", "*"]), stream.as_str());
    assert_eq!(server.cli(&["XINFO", "GROUPS", stream.as_str()]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_changes_nothing() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("rights");
    publish(&driver, &stream, &messages(3)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let held = member.receive(2).await;
    member.leave(&[(held[0].token, 1), (held[1].token, 1)]).await;
    let everything = |server: &Server| server.cli(&["XINFO", "STREAM", stream.as_str(), "FULL"]);
    let before = everything(&server);
    for (user, missing) in [("s", "-xgroup|setid"), ("c", "-xgroup|delconsumer"), ("d", "-xgroup|destroy")] {
        server.cli(&["ACL", "SETUSER", user, "on", ">pw", "~*", "+@all", missing]);
        let small = RedisDriver::connect(server.config().user(user).password("pw")).await.unwrap();
        let refusal = match user {
            "d" => small.admin().delete_group(&stream, &group()).await,
            _ => small.admin().seek_group(&stream, &group(), Start::Earliest).await,
        };
        assert_eq!(refusal.unwrap_err().kind(), ErrorKind::PermissionDenied, "{missing}");
        assert_eq!(everything(&server), before, "{missing}");
    }
}

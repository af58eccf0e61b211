//! Looking without taking.

use zephcast_core::driver::{Browsed, Cursor};

use crate::prelude::*;

async fn look(driver: &RedisDriver, stream: &StreamName, cursor: &Cursor, limit: usize) -> Browsed {
    driver.admin().browse(stream, cursor, limit).await.expect("a look")
}

#[tokio::test(flavor = "multi_thread")]
async fn large_entries_come_in_small_looks() {
    const MEGABYTE: usize = 1 << 20;
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("large");
    for _ in 0..10 {
        let batch: Vec<_> = (0..4).map(|_| Message::new(vec![b'x'; MEGABYTE])).collect();
        publish(&driver, &stream, &batch).await;
    }
    let (mut shown, mut looks, mut cursor) = (0, 0, Cursor::default());
    loop {
        let Browsed { messages, next } = look(&driver, &stream, &cursor, 1_000).await;
        if messages.is_empty() {
            break;
        }
        assert!(messages.len() <= 17, "{} megabytes at once", messages.len());
        (shown, looks, cursor) = (shown + messages.len(), looks + 1, next);
    }
    assert!(shown == 40 && looks >= 3, "{shown} in {looks} looks");
    server.cli(&["DEL", stream.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_entries_are_shown_as_they_are_and_deleted_ones_are_passed_over() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("foreign");
    let name = stream.as_str();
    server.cli(&["XADD", name, "5-9", "other", "1", "data", "body", "other", "2", "zephcast-key", "k"]);
    server.cli(&["XADD", name, "5-18446744073709551615", "data", "gone"]);
    server.cli(&["XADD", name, "6-0", "only", "headers", "zephcast-unknown", "kept back"]);
    server.cli(&["XDEL", name, "5-18446744073709551615"]);
    let Browsed { messages, next } = look(&driver, &stream, &Cursor::default(), 10).await;
    let [first, second] = &messages[..] else { panic!("{messages:?}") };
    let expected = Message::new("body").with_key("k").with_header("other", "1").with_header("other", "2");
    assert_eq!((&first.message, first.published_ms, first.position.to_string()), (&expected, Some(5), "5-9".into()));
    assert_eq!(second.message, Message::without_payload().with_header("only", "headers"));
    assert_eq!(next, Cursor::Units([(UnitId(0), Token(6, 1))].into()));
    assert_eq!(server.cli(&["XINFO", "GROUPS", name]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_stream_is_refused() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("text");
    server.cli(&["SET", stream.as_str(), "x"]);
    let other_unit = Cursor::Units([(UnitId(1), Token(0, 0))].into());
    for (cursor, kind) in [
        (Cursor::default(), ErrorKind::WrongType),
        (Cursor::Start(Start::Latest), ErrorKind::WrongType),
        (other_unit, ErrorKind::InvalidInput),
    ] {
        let refused = driver.admin().browse(&stream, &cursor, 10).await.expect_err("no stream");
        assert_eq!(refused.kind(), kind, "{refused}");
    }
    server.cli(&["DEL", stream.as_str()]);
    driver.admin().create_stream(&zephcast_core::driver::StreamSpec::new(stream.clone())).await.expect("a stream");
    assert!(look(&driver, &stream, &Cursor::default(), 10).await.messages.is_empty(), "empty is not missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_read_is_enough() {
    let server = Server::own(&[]);
    let stream = unique_stream("readable");
    publish(&*server.driver().await, &stream, &messages(3)).await;
    server.cli(&["ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+ping", "+client", "+info"]);
    let driver = RedisDriver::connect(server.config().user("reader").password("pw")).await.expect("let in");
    let Browsed { messages, next } = look(&driver, &stream, &Cursor::Start(Start::Time(1)), 10).await;
    assert_eq!(messages.len(), 3);
    assert!(look(&driver, &stream, &next, 10).await.messages.is_empty());
}

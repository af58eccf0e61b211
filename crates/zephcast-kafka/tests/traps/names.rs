//! Names of headers that are no text, where records are only looked at.

use tokio::time::timeout;
use zephcast_core::Message;
use zephcast_core::driver::Cursor;

use crate::lab::{Lab, PATIENCE};

const NAMES: [&[u8]; 3] = [b"\xff\xfe", b"cut\xc3", b""];

/// The Rust client panics at such a name (`BorrowedHeaders::try_get`, rdkafka 0.39, `message.rs`), on the thread that reads:
/// nobody could look past the record. Members are proved by `foreign/records.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_name_that_is_no_text_is_shown_as_it_is() {
    let lab = Lab::new(1).await;
    let publisher = lab.client.publisher(&lab.stream).await.unwrap();
    let odd = NAMES.iter().fold(Message::new("odd"), |message, name| message.with_header(*name, &b"value\xff"[..]));
    publisher.publish(odd).await.unwrap();
    publisher.publish("after").await.unwrap();

    let (stream, beginning) = (lab.stream.parse().unwrap(), Cursor::default());
    let look = lab.client.admin().browse(&stream, &beginning, 2);
    let seen = timeout(PATIENCE, look).await.expect("a look in time").unwrap().messages;
    let [odd, after] = &seen[..] else { panic!("{seen:?}") };
    let names: Vec<_> = odd.message.headers().iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, NAMES);
    assert_eq!(after.message.payload(), "after");
}

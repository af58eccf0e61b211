//! What is stored, and where.

use std::collections::HashMap;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{FuturesOrdered, StreamExt};
use rdkafka::Message as _;
use zephcast_core::driver::Driver as _;
use zephcast_core::{ErrorKind, Headers, Message, MessageId, PublishError, Token, UnitId};

use crate::broker::{Outcome, create, driver, headers, message, name, read, sink};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_are_confirmed_in_order_and_lie_where_it_says() {
    const COUNT: usize = 100_000;
    let topic = name("order");
    create(&topic, 4, &[]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    let batches: Vec<Vec<Message>> = (0..COUNT)
        .map(|number| message(number).with_key(format!("key-{}", number % 7)))
        .collect::<Vec<_>>()
        .chunks(500)
        .map(<[Message]>::to_vec)
        .collect();
    let mut calls = FuturesOrdered::new();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for batch in &batches {
        calls.push_back(sink.publish(batch));
        if calls.len() == 4 {
            outcomes.extend(calls.next().await.unwrap());
        }
    }
    while let Some(more) = calls.next().await {
        outcomes.extend(more);
    }
    drop(calls);
    driver.close(Duration::from_secs(10)).await.unwrap();

    let mut place = HashMap::new();
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let position = outcome.unwrap().unwrap();
        assert!(place.insert((position.unit, position.token), number).is_none(), "{position} twice");
    }
    let mut last_by_key = HashMap::new();
    for stored in read(&topic, 4, COUNT) {
        let (partition, offset) = (stored.partition() as u32, stored.offset() as u64);
        let number: usize = std::str::from_utf8(stored.payload().unwrap()).unwrap().parse().unwrap();
        assert_eq!(place[&(UnitId(partition), Token(offset, 0))], number);
        assert_eq!(headers(&stored), [("zephcast-id".into(), Some(format!("id-{number}").into_bytes()))]);
        let last = last_by_key.insert(stored.key().unwrap().to_vec(), number);
        assert!(last.is_none_or(|last| last < number), "{number} after {last:?}");
    }
    assert_eq!(last_by_key.len(), 7);
}

#[tokio::test]
async fn calls_are_stored_in_the_order_of_their_first_poll() {
    let topic = name("calls");
    create(&topic, 1, &[]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    // So large that most of them have to wait for room.
    let batches: Vec<Vec<Message>> =
        (0..200).map(|call| (0..10).map(|_| Message::new(vec![call as u8; 60_000])).collect()).collect();
    let mut calls: Vec<_> = batches.iter().map(|batch| sink.publish(batch)).collect();
    // Whatever the executor does later.
    let mut cx = Context::from_waker(Waker::noop());
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    calls.reverse();
    for outcome in join_all(calls).await.into_iter().flatten() {
        outcome.unwrap();
    }
    let stored: Vec<u8> = read(&topic, 1, 2_000).iter().map(|stored| stored.payload().unwrap()[0]).collect();
    assert!(stored.is_sorted(), "{stored:?}");
}

#[tokio::test]
async fn a_key_goes_where_clients_in_java_put_it() {
    // From the tests of Kafka itself: `UtilsTest.testMurmur2`.
    const HASHES: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let topic = name("keys");
    create(&topic, 7, &[]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    let batch: Vec<Message> = HASHES.iter().map(|(key, _)| Message::new("").with_key(*key)).collect();
    for (outcome, (key, hash)) in sink.publish(&batch).await.into_iter().zip(HASHES) {
        let unit = outcome.unwrap().unwrap().unit;
        assert_eq!(unit.0, ((hash & 0x7fff_ffff) % 7) as u32, "{key}");
    }
}

#[tokio::test]
async fn bytes_are_exact() {
    let topic = name("bytes");
    create(&topic, 1, &[]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    let binary: Vec<u8> = (0..=255).collect();
    let mut many = Headers::new();
    many.append("one", "first");
    many.append("one", "second");
    many.append_null("null");
    many.append("empty", "");
    many.append("", "nameless");
    many.append("binary", binary.clone());
    many.append("ümlaut", &b"\xff\xfe\0"[..]);
    let batch = [
        Message::without_payload().with_key("k"),
        Message::new(""),
        Message::new("").with_key("").with_id(MessageId::new(binary.clone())),
        Message::new(binary.clone()).with_key(binary.clone()).with_headers(many.clone()).with_id(MessageId::new("")),
    ];
    for (offset, outcome) in sink.publish(&batch).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap().unwrap().token, Token(offset as u64, 0));
    }
    let stored = read(&topic, 1, 4);
    let shown: Vec<_> = stored.iter().map(|stored| (stored.payload(), stored.key(), headers(stored))).collect();
    let id = |id: &[u8]| ("zephcast-id".to_owned(), Some(id.to_vec()));
    assert_eq!(shown[0], (None, Some(&b"k"[..]), vec![]));
    assert_eq!(shown[1], (Some(&b""[..]), None, vec![]));
    assert_eq!(shown[2], (Some(&b""[..]), Some(&b""[..]), vec![id(&binary)]));
    let mut expected: Vec<_> = many
        .iter()
        .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.map(|value| value.to_vec())))
        .collect();
    expected.push(id(b""));
    assert_eq!(shown[3], (Some(&binary[..]), Some(&binary[..]), expected));
}

#[tokio::test]
async fn close_waits_for_what_is_on_its_way_and_refuses_what_comes_later() {
    let topic = name("close");
    create(&topic, 2, &[]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    let batch: Vec<Message> = (0..1_000).map(message).collect();
    let mut call = pin!(sink.publish(&batch));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    driver.close(Duration::from_secs(10)).await.unwrap();
    assert!(call.await.into_iter().all(|outcome| outcome.is_ok()));
    for outcome in sink.publish(&batch[..2]).await {
        let Err(PublishError::Failed(error)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    assert_eq!(read(&topic, 2, 1_000).len(), 1_000);
}

#[tokio::test]
async fn a_dropped_call_harms_nobody() {
    let topic = name("dropped");
    create(&topic, 2, &[]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    for polls in 0..50 {
        let batch: Vec<Message> = (0..100).map(message).collect();
        let mut call = pin!(sink.publish(&batch));
        for _ in 0..polls % 3 {
            if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
        }
    }
    let began = Instant::now();
    assert!(sink.publish(&[message(0)]).await.remove(0).is_ok());
    assert!(began.elapsed() < Duration::from_secs(5));
    drop((driver, sink));
    let stored = read(&topic, 2, 33 * 100 + 1).len();
    assert_eq!(stored, 3_301, "each that was polled once went its way");
}

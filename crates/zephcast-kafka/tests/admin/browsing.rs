//! Looking at messages where they lie.

use crate::foreign::transact;
use crate::prelude::*;

async fn shown(driver: &KafkaDriver, stream: &StreamName, from: &Cursor, limit: usize) -> (Vec<String>, Cursor) {
    let browsed = driver.admin().browse(stream, from, limit).await.unwrap();
    let text = |stored: zephcast_core::driver::Stored| {
        format!("{} {}", stored.position, String::from_utf8_lossy(stored.message.payload()))
    };
    (browsed.messages.into_iter().map(text).collect(), browsed.next)
}

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

#[tokio::test]
async fn every_message_is_shown_once_and_each_unit_in_order() {
    let driver = driver().await;
    let stream = stream(&driver, 3).await;
    for partition in 0..3 {
        produce(stream.as_str(), partition, numbers(0..7)).await;
    }
    let (mut next, mut seen) = (Cursor::default(), Vec::new());
    loop {
        let (page, after) = shown(&driver, &stream, &next, 4).await;
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        seen.extend(page);
        next = after;
    }
    for unit in 0..3 {
        let of_unit: Vec<_> = seen.iter().filter(|text| text.starts_with(&format!("{unit}:"))).cloned().collect();
        assert_eq!(of_unit, (0..7).map(|offset| format!("{unit}:{offset} {offset}")).collect::<Vec<_>>());
    }
    let began = Instant::now();
    assert!(shown(&driver, &stream, &next, 4).await.0.is_empty());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    produce(stream.as_str(), 2, ["new".into()]).await;
    assert_eq!(shown(&driver, &stream, &next, 4).await.0, ["2:7 new"]);
    let status = driver.admin().stream(&stream).await.unwrap();
    assert_eq!(status.groups, Some(Vec::new()), "{status:?}");
}

#[tokio::test]
async fn a_look_begins_where_it_is_told_to() {
    let driver = driver().await;
    let stream = stream(&driver, 1).await;
    produce(stream.as_str(), 0, numbers(0..5)).await;
    for (start, expected) in
        [(Start::Latest, &[][..]), (Start::Position(at(0, 3)), &["0:3 3", "0:4 4"]), (Start::Time(u64::MAX), &[])]
    {
        assert_eq!(shown(&driver, &stream, &Cursor::Start(start), 9).await.0, expected, "{start:?}");
    }
    let unknown = Cursor::Units([(UnitId(1), Token(0, 0))].into());
    assert_eq!(driver.admin().browse(&stream, &unknown, 1).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let beyond = Cursor::Units([(UnitId(0), Token(99, 0))].into());
    assert_eq!(shown(&driver, &stream, &beyond, 1).await, (vec![], beyond));
    assert!(shown(&driver, &stream, &Cursor::default(), 0).await.0.is_empty());
}

#[tokio::test]
async fn of_transactions_only_what_is_committed_is_shown() {
    let driver = driver().await;
    let stream = stream(&driver, 1).await;
    let topic: &'static str = Box::leak(stream.as_str().to_owned().into_boxed_str());
    transact(topic, &["a", "b"], true).await;
    transact(topic, &["lost"], false).await;
    produce(topic, 0, ["c".into()]).await;
    transact(topic, &["lost too"], false).await;
    let (page, next) = shown(&driver, &stream, &Cursor::default(), 9).await;
    assert_eq!(page, ["0:0 a", "0:1 b", "0:5 c"]);
    let began = Instant::now();
    assert!(shown(&driver, &stream, &next, 9).await.0.is_empty());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn bytes_are_exact_and_bounded() {
    let driver = driver().await;
    let stream = stream(&driver, 1).await;
    produce_to(stream.as_str(), 0, b"\xff\x00", &[("h", b"\xfe"), ("h", b""), ("zephcast-id", b"7")]).await;
    let browsed = driver.admin().browse(&stream, &Cursor::default(), 1).await.unwrap();
    let stored = &browsed.messages[0];
    assert_eq!(stored.message.payload().as_ref(), b"\xff\x00");
    let headers: Vec<_> = stored.message.headers().iter().map(|(name, value)| (name.clone(), value.cloned())).collect();
    assert_eq!(headers.len(), 2, "{headers:?}");
    assert_eq!(headers[0].1.as_ref().unwrap().as_ref(), b"\xfe");
    assert!(stored.published_ms.is_some());
    let large = "x".repeat(900_000);
    produce(stream.as_str(), 0, (0..40).map(|_| large.clone())).await;
    let (page, next) = shown(&driver, &stream, &Cursor::default(), 1_000).await;
    assert!((18..=21).contains(&page.len()), "{} messages", page.len());
    assert!(!shown(&driver, &stream, &next, 1_000).await.0.is_empty());
}

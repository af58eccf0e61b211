//! Trimming and deleting.

use crate::foreign::Foreign;
use crate::prelude::*;

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

#[tokio::test]
async fn only_what_no_group_needs_is_trimmed() {
    let driver = driver().await;
    let stream = stream(&driver, 1).await;
    let (fast, slow) = (unique_group(), unique_group());
    produce(stream.as_str(), 0, numbers(0..10)).await;
    let admin = driver.admin();
    assert_eq!(admin.trim(&stream).await.unwrap(), 0);
    admin.create_group(&stream, &fast, Start::Latest).await.unwrap();
    admin.create_group(&stream, &slow, Start::Position(at(0, 4))).await.unwrap();
    assert_eq!(admin.trim(&stream).await.unwrap(), 4);
    assert_eq!(admin.trim(&stream).await.unwrap(), 0);
    assert_eq!(admin.stream(&stream).await.unwrap().depth, Some(6));
    let status = driver.group_status(&stream, &slow).await.unwrap();
    assert_eq!((status.lag, status.published), (Some(6), Some(10)));
    let browsed = admin.browse(&stream, &Cursor::Units([(UnitId(0), Token(0, 0))].into()), 1).await.unwrap();
    assert_eq!(browsed.messages[0].position, at(0, 4));
}

#[tokio::test]
async fn a_compacted_stream_is_not_trimmed() {
    let driver = driver().await;
    let mut spec = StreamSpec::new(unique_stream());
    spec.partitions = Some(1);
    spec.settings.insert("cleanup.policy".into(), "compact".into());
    driver.admin().create_stream(&spec).await.unwrap();
    use rdkafka::producer::{FutureProducer, FutureRecord};
    let (host, port) = config().hosts.swap_remove(0);
    let producer: FutureProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", format!("{host}:{port}")).create().unwrap();
    let record = FutureRecord::to(spec.stream.as_str()).key("k").payload("v");
    producer.send(record, Duration::from_secs(10)).await.unwrap();
    driver.admin().create_group(&spec.stream, &unique_group(), Start::Latest).await.unwrap();
    let error = driver.admin().trim(&spec.stream).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

#[tokio::test]
async fn a_stream_goes_with_its_groups_and_helpers() {
    let driver = driver().await;
    let (doomed, other) = (stream(&driver, 2).await, stream(&driver, 1).await);
    let (own, shared, busy) = (unique_group(), unique_group(), unique_group());
    let admin = driver.admin();
    admin.create_group(&doomed, &own, Start::Earliest).await.unwrap();
    admin.create_group(&doomed, &shared, Start::Earliest).await.unwrap();
    admin.create_group(&other, &shared, Start::Earliest).await.unwrap();
    let longer = StreamName::new(format!("{doomed}.eu")).unwrap();
    for topic in [
        longer.as_str(),
        &format!("{longer}.{own}.dead"),
        &format!("{doomed}.{own}.dead"),
        &format!("{doomed}.gone.retry-10s"),
    ] {
        driver.open_sink(&StreamName::new(topic).unwrap(), true).await.map(drop).unwrap();
    }
    produce(doomed.as_str(), 0, numbers(0..3)).await;
    let consumer = Foreign::join(doomed.as_str(), &busy, "busy", &[]);
    consumer.consume(1).await;
    admin.delete_stream(&doomed).await.unwrap();
    assert_eq!(admin.stream(&doomed).await.unwrap_err().kind(), ErrorKind::NotFound);
    for helper in [format!("{doomed}.{own}.dead"), format!("{doomed}.gone.retry-10s")] {
        assert_eq!(admin.stream(&StreamName::new(helper).unwrap()).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    admin.stream(&longer).await.unwrap();
    admin.stream(&StreamName::new(format!("{longer}.{own}.dead")).unwrap()).await.unwrap();
    consumer.leave().await;
    // A stream of the same name knows nothing of the former one.
    let mut spec = StreamSpec::new(doomed.clone());
    spec.partitions = Some(2);
    admin.create_stream(&spec).await.unwrap();
    for group in [&own, &shared, &busy] {
        let error = driver.group_status(&doomed, group).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{group:?}");
    }
    assert_eq!(driver.group_status(&other, &shared).await.unwrap().lag, Some(0));
    admin.delete_stream(&longer).await.unwrap();
    admin.delete_stream(&doomed).await.unwrap();
}

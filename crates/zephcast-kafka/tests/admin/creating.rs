//! Making streams.

use crate::prelude::*;

fn spec(partitions: u32, settings: &[(&str, &str)]) -> StreamSpec {
    let mut spec = StreamSpec::new(unique_stream());
    spec.partitions = Some(partitions);
    spec.settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    spec
}

#[tokio::test]
async fn a_stream_that_exists_alike_is_fine_and_otherwise_a_conflict() {
    let driver = driver().await;
    let mut spec = spec(3, &[("retention.ms", "123456"), ("replication", "1")]);
    spec.groups = vec![group("first"), group("second")];
    driver.admin().create_stream(&spec).await.unwrap();
    driver.admin().create_stream(&spec).await.unwrap();
    let mut alike = StreamSpec::new(spec.stream.clone());
    driver.admin().create_stream(&alike).await.unwrap();
    let known = driver.admin().stream(&spec.stream).await.unwrap();
    assert_eq!(known.units.len(), 3);
    assert_eq!(known.depth, Some(0));
    assert_eq!(known.groups, Some(spec.groups));
    alike.partitions = Some(4);
    let error = driver.admin().create_stream(&alike).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("partitions 3, not 4"), "{error}");
    alike.partitions = None;
    alike.settings.insert("retention.ms".into(), "5".into());
    let error = driver.admin().create_stream(&alike).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("retention.ms 123456, not 5"), "{error}");
    driver.admin().delete_stream(&spec.stream).await.unwrap();
}

#[tokio::test]
async fn a_stream_without_a_number_has_the_partitions_that_are_configured() {
    let driver = KafkaDriver::connect(config().partitions(5)).await.expect("a broker");
    let partitions = async |stream: &StreamName| driver.admin().stream(stream).await.unwrap().units.len();
    let unsaid = StreamSpec::new(unique_stream());
    driver.admin().create_stream(&unsaid).await.unwrap();
    assert_eq!(partitions(&unsaid.stream).await, 5);
    let said = spec(2, &[]);
    driver.admin().create_stream(&said).await.unwrap();
    assert_eq!(partitions(&said.stream).await, 2);
    let again = StreamSpec::new(said.stream.clone());
    driver.admin().create_stream(&again).await.expect("what exists is as it is wanted, where nothing was said");
    for stream in [&unsaid.stream, &said.stream] {
        driver.admin().delete_stream(stream).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_do() {
    let driver = driver().await;
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[("replication", "99")], "at most the number of brokers"),
        (&[("color", "red")], "settings of a Kafka topic"),
        (&[("retention.ms", "soon")], "settings of a Kafka topic"),
    ];
    for (settings, advice) in cases {
        let spec = spec(1, settings);
        let error = driver.admin().create_stream(&spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().contains(advice), "{error}");
        assert_eq!(driver.admin().stream(&spec.stream).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    for illegal in ["größe", "a:b"] {
        let spec = StreamSpec::new(StreamName::new(illegal).unwrap());
        assert_eq!(driver.admin().create_stream(&spec).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn many_at_once_make_one_stream() {
    let driver = driver().await;
    let stream = unique_stream();
    let spec = StreamSpec::new(stream.clone());
    let all = futures_util::future::join_all((0..8).map(|_| driver.admin().create_stream(&spec))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let opened = futures_util::future::join_all((0..4).map(|_| driver.open_sink(&stream, true))).await;
    assert!(opened.iter().all(Result::is_ok));
    driver.admin().delete_stream(&stream).await.unwrap();
    let error = driver.open_sink(&stream, false).await.err().expect("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    driver.open_sink(&stream, true).await.map(drop).unwrap();
}

#[tokio::test]
async fn streams_are_listed_without_what_is_not_one() {
    let driver = driver().await;
    let stream = stream(&driver, 2).await;
    produce(stream.as_str(), 1, ["x".into(), "y".into()]).await;
    let helper = unique_helper(&stream);
    driver.open_sink(&helper, true).await.map(drop).unwrap();
    let all = driver.admin().streams().await.unwrap();
    let shown = all.iter().find(|shown| shown.stream == stream).expect("the stream");
    assert_eq!((shown.depth, shown.units.len()), (Some(2), 2));
    assert!(all.windows(2).all(|pair| pair[0].stream < pair[1].stream));
    assert!(!all.iter().any(|shown| shown.stream == helper || shown.stream.as_str().starts_with("__")));
}

fn unique_helper(stream: &StreamName) -> StreamName {
    StreamName::new(format!("{stream}.billing.dead")).unwrap()
}

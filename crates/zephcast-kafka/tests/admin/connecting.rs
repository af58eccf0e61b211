//! Connecting, and what is said when it fails.

use std::error::Error as _;

use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};

use crate::prelude::*;

#[tokio::test]
async fn nobody_there_is_unavailable_and_names_the_servers() {
    let config = KafkaConfig::new("127.0.0.1", 9).connect_timeout(Duration::from_millis(800));
    let began = Instant::now();
    let error = KafkaDriver::connect(config).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("127.0.0.1:9"), "{error}");
    assert!(error.source().is_some(), "{error:?}");
}

#[tokio::test]
async fn a_closed_driver_says_so() {
    let driver = driver().await;
    driver.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(driver.admin().streams().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(driver.admin().check().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn dropped_calls_leave_nothing_behind() {
    let driver = driver().await;
    for micros in 0..200 {
        let _ = tokio::time::timeout(Duration::from_micros(micros * 10), driver.admin().streams()).await;
    }
    driver.admin().streams().await.unwrap();
}

#[tokio::test]
async fn the_broker_is_checked() {
    let found = driver().await.admin().check().await.unwrap();
    eprintln!("{found:#?}");
    assert!(!found.version.is_empty());
    for warning in found.warnings {
        assert!(!warning.advice.is_empty() && !warning.message.is_empty(), "{warning:?}");
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_said_at_once() {
    let server = KafkaServer::start(KafkaOptions::default().user("nobody", "secret").authorized()).await.unwrap();
    let at = |listener| KafkaConfig::from_url(&format!("kafka://{}", server.bootstrap(listener))).unwrap();
    let powerful = KafkaDriver::connect(at(Listener::Plain)).await.unwrap();
    let powerless = KafkaDriver::connect(at(Listener::Sasl).user("nobody").password("secret")).await.unwrap();
    let stream = stream(&powerful, 1).await;
    let group = unique_group();
    powerful.admin().create_group(&stream, &group, Start::Earliest).await.unwrap();
    let began = Instant::now();
    let admin = powerless.admin();
    let errors = [
        powerless.group_status(&stream, &group).await.unwrap_err(),
        admin.create_stream(&StreamSpec::new(unique_stream())).await.unwrap_err(),
        admin.create_group(&stream, &group, Start::Earliest).await.unwrap_err(),
        admin.stream(&stream).await.unwrap_err(),
        admin.browse(&stream, &Cursor::default(), 1).await.unwrap_err(),
        admin.trim(&stream).await.unwrap_err(),
        admin.delete_stream(&stream).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    }
    assert!(!admin.streams().await.unwrap().iter().any(|shown| shown.stream == stream));
    let kinds: Vec<_> = admin.check().await.unwrap().warnings.iter().map(|warning| warning.kind).collect();
    assert!(kinds.contains(&"rights_unknown") && kinds.contains(&"missing_rights"), "{kinds:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

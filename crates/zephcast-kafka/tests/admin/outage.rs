//! A broker that is frozen: everything fails within its time, says so, and goes on when the broker does.

use integration_tests::kafka_server::{KafkaOptions, KafkaServer};
use zephcast_core::Message;

use crate::prelude::*;

/// A broker of its own, a driver that does not wait for long, and a stream with one message and a group.
async fn setup() -> (KafkaServer, Arc<KafkaDriver>, StreamName, GroupName) {
    let server = KafkaServer::start(KafkaOptions::default()).await.unwrap();
    let driver = KafkaDriver::connect(config_of(&server)).await.unwrap();
    let (stream, group) = (stream(&driver, 2).await, unique_group());
    driver.admin().create_group(&stream, &group, Start::Earliest).await.unwrap();
    let sink = driver.open_sink(&stream, false).await.unwrap();
    sink.publish(&[Message::new("a")]).await.remove(0).unwrap();
    (server, driver, stream, group)
}

fn config_of(server: &KafkaServer) -> KafkaConfig {
    let config = KafkaConfig::from_url(&server.url()).unwrap();
    config.request_timeout(Duration::from_secs(2)).connect_timeout(Duration::from_secs(2))
}

#[tokio::test]
async fn a_frozen_broker_is_told_within_the_time_of_a_request() {
    let (server, driver, stream, group) = setup().await;
    let (admin, config) = (driver.admin(), config_of(&server));
    server.stop(0).unwrap();
    let began = Instant::now();
    let errors = [
        driver.group_status(&stream, &group).await.unwrap_err(),
        admin.streams().await.unwrap_err(),
        admin.create_stream(&StreamSpec::new(unique_stream())).await.unwrap_err(),
        admin.browse(&stream, &Cursor::default(), 1).await.unwrap_err(),
        admin.check().await.unwrap_err(),
        KafkaDriver::connect(config).await.unwrap_err(),
    ];
    let took = began.elapsed();
    server.cont(0).unwrap();
    for error in &errors {
        assert!(error.is_retryable(), "{error:?}");
    }
    assert!(took < Duration::from_secs(15), "{took:?}");
    // A busy machine takes long to have it back.
    let until = Instant::now() + Duration::from_secs(90);
    while let Err(error) = driver.group_status(&stream, &group).await {
        assert!(error.is_retryable() && Instant::now() < until, "{error:?}");
    }
    // A call that is told as failed may have been carried out.
    while let Err(error) = admin.delete_stream(&stream).await {
        if error.kind() == ErrorKind::NotFound {
            break;
        }
        assert!(error.is_retryable() && Instant::now() < until, "{error:?}");
    }
}

/// With one copy of each partition, a node takes along what it leads.
#[tokio::test]
async fn a_partition_without_a_leader_hides_nothing_else() {
    let mut server = KafkaServer::start(KafkaOptions::default().nodes(3)).await.unwrap();
    let driver = KafkaDriver::connect(config_of(&server)).await.unwrap();
    let (name, group) = (unique_stream(), unique_group());
    let mut spec = StreamSpec::new(name.clone());
    spec.partitions = Some(3);
    spec.settings.insert("replication".into(), "1".into());
    driver.admin().create_stream(&spec).await.unwrap();
    driver.admin().create_group(&name, &group, Start::Earliest).await.unwrap();
    server.kill9(2).unwrap();

    let until = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match driver.group_status(&name, &group).await {
            Ok(status) if status.units.iter().any(|unit| unit.end.is_none()) => break status,
            Ok(_) => assert!(Instant::now() < until, "the node leads nothing"),
            Err(error) => assert!(error.is_retryable() && Instant::now() < until, "{error:?}"),
        }
    };
    assert_eq!((status.lag, status.units.iter().filter(|unit| unit.lag == Some(0)).count()), (None, 2));
    // All groups cannot be known before the cluster has noticed that the node is gone.
    let shown = loop {
        match driver.admin().stream(&name).await {
            Ok(shown) => break shown,
            Err(error) => assert!(error.is_retryable() && Instant::now() < until, "{error:?}"),
        }
    };
    assert_eq!((shown.depth, shown.units.len()), (None, 3));
    assert!(driver.admin().streams().await.unwrap().iter().any(|stream| stream.stream == name));
    let sink = driver.open_sink(&name, false).await.unwrap();
    // A key may belong to the partition that is away.
    let stored = (0..9).map(|key| {
        let sink = &sink;
        Box::pin(async move { sink.publish(&[Message::new("x").with_key(key.to_string())]).await.remove(0) })
    });
    futures_util::future::select_ok(stored).await.unwrap();
    let client = zephcast_core::Client::new(driver);
    let mut member = client.consumer(name.as_str()).group(group.as_str()).start().await.unwrap();
    let delivery = tokio::time::timeout(Duration::from_secs(30), member.next()).await.unwrap().unwrap().unwrap();
    delivery.ack_confirmed().await.unwrap();
}

#[tokio::test]
async fn what_is_seen_beside_an_outage_is_true() {
    let (server, driver, stream, group) = setup().await;
    let mut looks = tokio::task::JoinSet::new();
    let until = Instant::now() + Duration::from_secs(6);
    for _ in 0..8 {
        let (driver, stream, group) = (driver.clone(), stream.clone(), group.clone());
        looks.spawn(async move {
            while Instant::now() < until {
                match driver.group_status(&stream, &group).await {
                    Ok(status) => assert_eq!(status.lag, Some(1)),
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
                match driver.admin().browse(&stream, &Cursor::default(), 5).await {
                    Ok(page) => assert_eq!(page.messages.len(), 1),
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.stop(0).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.cont(0).unwrap();
    looks.join_all().await;
    let began = Instant::now();
    driver.close(Duration::from_secs(1)).await.unwrap();
    drop(driver);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

//! On a real server: what must not be made is not.

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use zephcast_core::driver::Driver;

use super::*;
use crate::RabbitDriver;

#[tokio::test]
async fn who_only_checks_or_expects_makes_nothing() {
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let client = async |settings: &str| {
        RabbitDriver::connect(RabbitConfig::from_url(&(server.url() + settings)).unwrap()).await.unwrap()
    };
    let [stream, group] = ["s"; 2];
    let mut spec = StreamSpec::new(stream.parse().unwrap());
    spec.groups = vec![group.parse().unwrap()];
    let refused = async |settings: &str| client(settings).await.admin().create_stream(&spec).await.unwrap_err().kind();
    assert_eq!(refused("&topology=check").await, ErrorKind::NotFound);
    assert_eq!(refused("&topology=expect").await, ErrorKind::InvalidInput);
    let maker = client("").await;
    let missing = maker.admin().stream(&spec.stream).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    maker.admin().create_stream(&spec).await.unwrap();
    client("&topology=check").await.admin().create_stream(&spec).await.expect("it is there");
}

#[tokio::test]
async fn a_stream_that_would_be_shared_by_groups_is_refused() {
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let config = RabbitConfig::from_url(&(server.url() + "&exchange=x-consistent-hash")).unwrap();
    let driver = RabbitDriver::connect(config).await.unwrap();
    let mut spec = StreamSpec::new("s".parse().unwrap());
    spec.groups = ["one", "two"].map(|group| group.parse().unwrap()).to_vec();
    let refused = driver.admin().create_stream(&spec).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(driver.admin().stream(&spec.stream).await.unwrap_err().kind(), ErrorKind::NotFound);
    spec.groups.truncate(1);
    driver.admin().create_stream(&spec).await.expect("with one it is fine");
}

#[tokio::test]
async fn of_a_queue_that_is_named_nobody_says_whose_it_is() {
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let config = RabbitConfig::from_url(&(server.url() + "&queue=shared")).unwrap();
    let driver = RabbitDriver::connect(config).await.unwrap();
    let admin = driver.admin();
    let mut spec = StreamSpec::new("s".parse().unwrap());
    spec.groups = vec!["g".parse().unwrap()];
    admin.create_stream(&spec).await.unwrap();
    assert_eq!(admin.stream(&spec.stream).await.unwrap().groups, None);
    let refused = admin.delete_stream(&spec.stream).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    // With its group gone nothing is left behind.
    admin.delete_group(&spec.stream, &spec.groups[0]).await.unwrap();
    admin.delete_stream(&spec.stream).await.unwrap();
    let queues = server.ctl(&["list_queues", "--no-table-headers", "name"]).await.unwrap();
    assert_eq!(queues, "");
}

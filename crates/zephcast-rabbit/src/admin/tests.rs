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

//! On a real server: what must not be made is not, and what others made stays as it is.

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::types::FieldTable;
use zephcast_core::driver::Driver;

use super::*;
use crate::RabbitDriver;
use crate::lab::{Lab, PATIENCE};

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
async fn a_group_that_would_get_nothing_is_refused() {
    let lab = Lab::start_with("&exchange=direct").await;
    let mut spec = StreamSpec::new("s".parse().unwrap());
    spec.groups = vec!["g".parse().unwrap()];
    let refused = lab.driver.admin().create_stream(&spec).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let Err(refused) = lab.driver.join(Lab::subscription()).await else { panic!("would get nothing") };
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(lab.driver.admin().stream(&spec.stream).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lab.server.ctl(&["list_queues", "--no-table-headers", "name"]).await.unwrap(), "");
    spec.settings.insert("binding".into(), "a".into());
    lab.driver.admin().create_stream(&spec).await.expect("it gets something");
    // Whoever does not say what it gets leaves it so.
    spec.settings.clear();
    lab.driver.admin().create_stream(&spec).await.unwrap();
    lab.join().await;
    assert_eq!(lab.bound_by().await, ["a"]);
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

#[tokio::test]
async fn a_group_that_gets_something_in_particular_gets_nothing_else() {
    let lab = Lab::start().await;
    let mut spec = Lab::bound_by_a();
    let admin = lab.driver.admin();
    admin.create_stream(&spec).await.unwrap();
    let mut without = spec.clone();
    without.settings.clear();
    admin.create_stream(&without).await.unwrap();
    admin.create_group(&spec.stream, &spec.groups[0], Start::Earliest).await.unwrap();
    lab.join().await.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    spec.settings.insert("binding".into(), "b.#".into());
    let refused = admin.create_stream(&spec).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Conflict && refused.message().contains("a.#"), "{refused}");
    assert_eq!(lab.bound_by().await, ["a.#"]);
    spec.settings.insert("binding".into(), "b.#,a.#".into());
    admin.create_stream(&spec).await.unwrap();
    assert_eq!(lab.bound_by().await, ["a.#", "b.#"]);
}

#[tokio::test]
async fn a_group_is_bound_though_nobody_can_say_by_what_it_is() {
    let lab = Lab::start().await;
    let client = async |settings: &str| {
        let config = RabbitConfig::from_url(&format!("amqp://guest:guest@{}{settings}", lab.server.addr())).unwrap();
        RabbitDriver::connect(config).await.unwrap()
    };
    let mut spec = StreamSpec::new("s".parse().unwrap());
    spec.groups = vec!["g".parse().unwrap()];
    client("").await.admin().create_stream(&spec).await.unwrap();
    let nothing = FieldTable::default();
    lab.channel().await.queue_unbind("s.g".into(), "s".into(), "#".into(), nothing).await.unwrap();
    assert_eq!(lab.bound_by().await, [""; 0]);
    client("?management=http://127.0.0.1:1").await.admin().create_stream(&spec).await.unwrap();
    assert_eq!(lab.bound_by().await, ["#"]);
}

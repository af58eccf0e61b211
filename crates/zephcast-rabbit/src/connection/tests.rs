//! On a real server: how connections end, and with them what it said of them.

use integration_tests::proxy::{Direction, Proxy};
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::BasicProperties;

use super::*;
use crate::lane::Lane;
use crate::properties::Outgoing;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_while_it_is_blocked_is_blocked_no_longer() {
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let config = Arc::new(RabbitConfig::new("127.0.0.1", proxy.addr().port()));
    let connection = Arc::new(Connection::new(config, "test"));
    // Whoever published keeps the connection until it publishes again.
    let lane = Lane::open(&connection, "test").await.unwrap();
    let mut blocking = connection.blocking();
    server.raise_memory_alarm().await.unwrap();
    drop(lane.publish(vec![Outgoing::to_queue("nowhere", BasicProperties::default(), "")]));
    let blocked = tokio::time::timeout(PATIENCE, blocking.wait_for(Option::is_some)).await;
    blocked.expect("is told in time").unwrap();
    assert!(connection.blocked().is_some() && connection.trouble("test").is_some());
    proxy.reset();
    let over = tokio::time::timeout(PATIENCE, blocking.wait_for(Option::is_none)).await;
    over.expect("is told in time").unwrap();
    assert!(connection.blocked().is_none() && connection.trouble("test").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_that_are_about_to_close_do_not_disturb_the_end() {
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let config = Arc::new(RabbitConfig::from_url(&server.url()).unwrap());
    for _ in 0..50 {
        let connection = Connection::new(config.clone(), "test");
        for _ in 0..5 {
            drop(connection.channel("test").await.unwrap());
        }
        connection.close(PATIENCE).await.expect("closes in good order");
    }
    let frozen = Connection::new(config, "test");
    frozen.link("test").await.unwrap();
    server.stop().unwrap();
    let late = frozen.close(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout, "{late}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_given_up_or_closed_ends_though_somebody_has_a_channel_of_it() {
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let config = RabbitConfig::new("127.0.0.1", proxy.addr().port()).heartbeat(Duration::from_secs(60));
    let config = Arc::new(config.request_timeout(Duration::from_secs(1)));
    let open = async |count| {
        let seen = proxy.until(|seen| seen.open == count);
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{count} are open"));
    };
    for end in ["given up", "closed", "not closed in time"] {
        let connection = Arc::new(Connection::new(config.clone(), "test"));
        let lane = Lane::open(&connection, "test").await.unwrap();
        open(1).await;
        match end {
            "given up" => connection.give_up(&connection.link("test").await.unwrap()),
            "closed" => connection.close(PATIENCE).await.unwrap(),
            _ => {
                proxy.set_hold(&[Direction::FromServer]);
                let late = connection.close(Duration::from_millis(100)).await.unwrap_err();
                assert_eq!(late.kind(), ErrorKind::Timeout, "{late}");
            }
        }
        assert!(lane.is_over());
        open(0).await;
    }
}

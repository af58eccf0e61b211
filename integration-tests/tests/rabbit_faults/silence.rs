//! A server that is slow to confirm what is published, or never does, while its heartbeats go on.

use std::time::Duration;

use integration_tests::proxy::{Direction, Proxy};
use tokio::time::Instant;
use zephcast::{Client, ErrorKind, Message};

use super::lab;

/// A client by way of a network that can be made bad. Heartbeats find out nothing.
async fn by_proxy(proxy: &Proxy, request_timeout: Duration) -> Client {
    let timeout = request_timeout.as_millis();
    let url = format!("amqp://guest:guest@{}/%2f?heartbeat=60&request-timeout={timeout}", proxy.addr());
    zephcast::connect(&url).await.expect("connects")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_confirms_is_left_though_every_publish_gives_up_before() {
    const STREAM: &str = "never-confirmed";
    const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
    let server = lab::shared().await;
    let proxy = Proxy::start(server.addr()).await.expect("a proxy");
    let client = by_proxy(&proxy, REQUEST_TIMEOUT).await;
    let _member = lab::join(&lab::connect(&server).await, STREAM, 1).await;
    let publisher = client.publisher(STREAM).timeout(REQUEST_TIMEOUT / 2).await.expect("opens");
    publisher.publish("0").await.expect("is stored");
    let before = proxy.counters().accepted.len();

    proxy.set_hold(&[Direction::FromServer]);
    let begin = Instant::now();
    let publishes = async {
        loop {
            let late = publisher.publish("1").await.expect_err("nothing is confirmed");
            assert_eq!(late.kind(), ErrorKind::Timeout, "{late:?}");
        }
    };
    tokio::select! {
        () = publishes => {}
        _ = proxy.until(|counters| counters.accepted.len() > before) => {}
        () = tokio::time::sleep(REQUEST_TIMEOUT * 4) => panic!("nobody makes another connection"),
    }
    let took = begin.elapsed();
    println!("another connection after {took:?}");
    assert!(took >= REQUEST_TIMEOUT, "{took:?}");
    proxy.heal();
    let patient = client.publisher(STREAM).await.expect("opens");
    patient.publish("2").await.expect("is stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_line_is_no_silence() {
    const STREAM: &str = "slow-line";
    const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);
    const BYTES_PER_SECOND: u32 = 500_000;
    const MESSAGES: usize = 80;
    const SIZE: usize = 25_000;
    let server = lab::shared().await;
    let proxy = Proxy::start(server.addr()).await.expect("a proxy");
    let client = by_proxy(&proxy, REQUEST_TIMEOUT).await;
    let _member = lab::join(&lab::connect(&server).await, STREAM, 1).await;
    let publisher = client.publisher(STREAM).timeout(lab::PATIENCE).await.expect("opens");
    publisher.publish("0").await.expect("is stored");
    let before = proxy.counters().accepted.len();

    proxy.set_bandwidth(Some(BYTES_PER_SECOND));
    let begin = Instant::now();
    for outcome in publisher.publish_all((0..MESSAGES).map(|_| Message::new(vec![b'x'; SIZE]))).await {
        outcome.expect("is stored");
    }
    let took = begin.elapsed();
    println!("all were stored after {took:?}");
    assert!(took > REQUEST_TIMEOUT * 2, "the line was not slow: {took:?}");
    assert_eq!(proxy.counters().accepted.len(), before, "the connection was given up");
}

//! 50,000 messages through a real Redis while processes are killed and frozen, connections cut and servers restarted:
//! nothing is lost, nothing corrupt, and nothing comes twice but around a fault.

#![expect(clippy::print_stdout, reason = "what happened to how many is worth reading also when it is well")]

mod faults;
mod member;
mod process;
mod publishing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::proxy::Proxy;
use integration_tests::redis_server::{RedisOptions, RedisServer};
use zephcast_conformance::History;

use faults::Storm;
use member::Member;

const MESSAGES: u64 = 50_000;
const STREAM: &str = "storm";
const GROUP: &str = "all";
/// Short, so that taking over fits between two faults.
const LEASE: Duration = Duration::from_secs(1);
/// How long before and after a fault something can come twice because of it: what it interrupted is taken over after a
/// lease, one suspect after another.
const AFTERMATH: Duration = Duration::from_secs(20);
/// The longest that anything awaited here may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_repeated_without_a_fault() {
    let server = RedisServer::start(RedisOptions::default()).await.expect("redis-server starts");
    let proxy = Proxy::start(server.addr()).await.expect("the proxy starts");
    let url = format!("redis://{}", proxy.addr());
    let history = Arc::new(History::new(STREAM));

    let client = zephcast::connect(&url).await.expect("connects");
    let member = Member::join(&client, history.clone()).await;
    let publishing = tokio::spawn(publishing::publish(client.clone(), history.clone()));

    let mut storm = Storm::new(server, proxy, history.clone(), client.clone());
    storm.rage().await;

    tokio::time::timeout(PATIENCE, publishing).await.expect("publishing ends").expect("publishing does not panic");
    let server = storm.calm().await;
    let settled = settled(&server.url(), &history).await;
    member.leave().await;
    client.close(Duration::from_secs(5)).await.expect("closes");

    let findings = history.findings();
    println!("{} faults: {findings}; {settled}", storm.windows.len());
    findings.at_least_once().unwrap_or_else(|broken| panic!("{broken:?}"));
    let windows = &storm.windows;
    let explained = |first: Instant, again: Instant| {
        windows.iter().any(|(from, to)| again >= *from && first <= *to + AFTERMATH && again <= *to + AFTERMATH)
    };
    findings
        .repeats_only("and no fault was near", |repeat| explained(repeat.first, repeat.again))
        .unwrap_or_else(|broken| panic!("{broken:?}"));
    assert!(windows.len() >= 10, "{} faults", windows.len());
    assert!(findings.confirmed as u64 >= MESSAGES * 9 / 10, "only {} messages were confirmed", findings.confirmed);
}

/// Waits until everything that was confirmed was delivered and the group has nothing left, seen past the proxy.
async fn settled(url: &str, history: &History) -> String {
    let witness = zephcast::connect(url).await.expect("connects");
    let until = Instant::now() + PATIENCE;
    loop {
        let status = witness.group_status(STREAM, GROUP).await.expect("a status");
        if history.is_complete() && status.lag == Some(0) {
            assert_eq!(status.dead_letters, Some(0), "an innocent message was given up: {status:?}");
            return format!("{} members left", status.members.len());
        }
        assert!(Instant::now() < until, "not settled after {PATIENCE:?}: {}; {status:?}", history.findings());
        // The broker's own figures are the event; it cannot be asked to tell them.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

//! 50,000 messages through a real Redis while processes are killed and frozen, connections cut and servers restarted:
//! nothing is lost, nothing corrupt, what was settled stays so, and nothing comes twice but around a fault that ended a
//! lease.

#![expect(clippy::print_stdout, reason = "what happened to how many is worth reading also when it is well")]

mod evidence;
mod faults;
mod storm;
mod suspects;

use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::proxy::Proxy;
use integration_tests::redis_server::{RedisOptions, RedisServer};
use integration_tests::storm::{self as shared, Member, Terms, windows};
use zephcast::Client;
use zephcast_conformance::History;

use storm::Storm;

const MESSAGES: u64 = 50_000;
/// All messages take about half a minute, and what an outage held up is caught up with.
const EVERY: Duration = Duration::from_millis(52);
const STREAM: &str = "storm";
const GROUP: &str = "all";
/// Short, so that taking over fits between two faults.
const LEASE: Duration = Duration::from_secs(1);
/// What a member may have in its hands: as much may come again when its lease ends, one at a time.
const PREFETCH: usize = 50;
/// What the members agree on. A lease can end after its member died just after it renewed, and before the look that finds
/// what it held; beyond, something comes twice only while the server says that suspects wait. An ack is written within
/// milliseconds, and a page of the command is printed in one go.
const TERMS: Terms = Terms {
    stream: STREAM,
    group: GROUP,
    lease: LEASE,
    prefetch: PREFETCH,
    aftermath: LEASE.saturating_mul(3),
    in_flight: LEASE,
    patience: PATIENCE,
};
/// How long silence lasts before a member notices it by itself. By default it is 10 s.
const COMMAND_TIMEOUT: Duration = LEASE;
/// So much of the time at least nothing may come twice.
const CALM: Duration = Duration::from_secs(5);
/// The longest that anything awaited here may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_repeated_without_a_fault() {
    let begin = Instant::now();
    let server = RedisServer::start(RedisOptions::default()).await.expect("redis-server starts");
    let proxy = Proxy::start(server.addr()).await.expect("the proxy starts");
    let url = format!("redis://{}?command-timeout={}", proxy.addr(), COMMAND_TIMEOUT.as_millis());
    let history = Arc::new(History::new(STREAM));

    let client = zephcast::connect(&url).await.expect("connects");
    let member = Member::join(TERMS, &client, history.clone()).await;
    let publishing =
        tokio::spawn(shared::publish(TERMS, client.clone(), history.clone(), MESSAGES, tokio::time::interval(EVERY)));
    let mut storm = Storm::new(server, proxy, &url, history.clone(), client.clone(), member).await;
    storm.rage().await;

    let unknown = tokio::time::timeout(PATIENCE, publishing).await.expect("publishing ends");
    let unknown = unknown.expect("publishing does not panic");
    let end = Instant::now();
    storm.calm().await;
    settled(&storm.witness, &history).await;
    let report = storm.member.leave().await;
    assert!(report.clean, "{report:?}");
    client.close(Duration::from_secs(5)).await.expect("closes");

    let findings = history.findings();
    let repeats = windows::check(&findings, &storm.windows);
    let calm = windows::calm(&storm.windows, begin, end);
    let (struck, took) = (storm.struck, begin.elapsed());
    println!("{struck} faults in {took:.1?}, calm for {calm:.1?}: {findings}, {unknown} publishes unknown");
    println!("repeats by fault: {repeats:?}");
    findings.all_there().unwrap_or_else(|broken| panic!("{broken:?}"));
    repeats.unwrap_or_else(|unexplained| panic!("{unexplained}"));
    assert!(struck >= 10, "only {struck} faults had an effect");
    assert!(calm >= CALM, "in {calm:?} of calm hardly anything can be seen to come twice");
    assert!(unknown > 0, "no publish was interrupted");
    assert!(findings.confirmed as u64 >= MESSAGES * 9 / 10, "only {} messages were confirmed", findings.confirmed);
}

/// Waits until everything that was confirmed was delivered and the group has nothing left, seen past the proxy.
async fn settled(witness: &Client, history: &History) {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = witness.group_status(STREAM, GROUP).await.expect("a status");
        if history.is_complete() && status.lag == Some(0) {
            assert_eq!(status.dead_letters, Some(0), "an innocent message was given up: {status:?}");
            return;
        }
        assert!(Instant::now() < until, "not settled after {PATIENCE:?}: {}; {status:?}", history.findings());
        // The broker's own figures are the event; it cannot be asked to tell them.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

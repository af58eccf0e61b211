//! 50,000 messages through a real RabbitMQ while processes are killed and frozen, connections cut, the server restarted
//! and brought into need of memory: nothing is lost, nothing corrupt, what was settled stays so, nothing comes twice but
//! around a fault that ended a member's connection, and nothing is left over by the server's own count.

#![expect(clippy::print_stdout, reason = "what happened to how many is worth reading also when it is well")]

mod faults;
mod storm;

use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::storm::{self as shared, Terms, windows};
use tokio::time::MissedTickBehavior;
use zephcast_conformance::History;

use storm::Storm;

const MESSAGES: u64 = 50_000;
/// All messages take more than a minute, most of which faults take.
const EVERY: Duration = Duration::from_millis(130);
const STREAM: &str = "storm";
const GROUP: &str = "all";
/// Two heartbeats, which are counted in seconds.
const LEASE: Duration = Duration::from_secs(4);
/// The longest that anything awaited here may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the members agree on. What was left behind is waited for after each fault, by counts of the server that are a second
/// old at most.
const TERMS: Terms = Terms {
    stream: STREAM,
    group: GROUP,
    lease: LEASE,
    prefetch: 50,
    aftermath: Duration::from_secs(2),
    in_flight: Duration::from_secs(2),
    patience: PATIENCE,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_repeated_without_a_fault() {
    let begin = Instant::now();
    let history = Arc::new(History::new(STREAM));
    let mut storm = Storm::start(history.clone()).await;
    let mut pace = tokio::time::interval(EVERY);
    // What an outage held up comes later, so that there is some of it for each fault.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let publishing = tokio::spawn(shared::publish(TERMS, storm.client.clone(), history.clone(), MESSAGES, pace));
    storm.rage(begin).await;
    let unknown = tokio::time::timeout(PATIENCE, publishing).await.expect("publishing ends");
    let unknown = unknown.expect("publishing does not panic");
    let end = Instant::now();
    storm.settled().await;
    storm.end().await;

    let findings = history.findings();
    let repeats = windows::check(&findings, &storm.windows);
    let calm = windows::calm(&storm.windows, begin, end);
    let (struck, took) = (storm.struck, begin.elapsed());
    println!("{struck} faults in {took:.1?}, calm for {calm:.1?}: {findings}, {unknown} publishes unknown");
    println!("repeats by fault: {repeats:?}");
    findings.all_there().unwrap_or_else(|broken| panic!("{broken:?}"));
    repeats.unwrap_or_else(|unexplained| panic!("{unexplained}"));
    assert!(struck >= 10, "only {struck} faults had an effect");
    assert!(calm >= Duration::from_secs(5), "in {calm:?} of calm hardly anything can be seen to come twice");
    assert!(unknown > 0, "no publish was interrupted");
    assert!(findings.confirmed as u64 >= MESSAGES * 9 / 10, "only {} messages were confirmed", findings.confirmed);
}

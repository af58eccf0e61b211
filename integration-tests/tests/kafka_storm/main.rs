//! 50,000 messages through a Kafka of three nodes while nodes are frozen, killed and restarted, partitions and coordinators
//! moved, connections cut and members killed: nothing that was confirmed is lost, nothing corrupt, nothing comes twice but
//! around a fault that can have ended a lease, and nothing is left over by the broker's own count.

#![expect(clippy::print_stdout, reason = "what happened to how many is worth reading also when it is well")]

mod faults;
mod lab;
mod member;
mod publishing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use zephcast_conformance::History;

use faults::FAULTS;
use lab::Lab;

const MESSAGES: u64 = 50_000;
const STREAM: &str = "storm";
const GROUP: &str = "all";
const PARTITIONS: u32 = 6;
const LEASE: Duration = Duration::from_secs(4);
/// What a member may have in its hands.
const PREFETCH: usize = 50;
/// How long after a fault's end something can come twice because of it: a lease that ends, and the partitions' way to
/// others.
const AFTERMATH: Duration = LEASE.saturating_mul(2);
/// What was handled longer than this before a fault was committed.
const IN_FLIGHT: Duration = Duration::from_secs(2);
/// How many messages are delivered before and after each fault.
const CALM: u64 = 1_000;
/// The longest that anything awaited here may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// When something may come twice.
struct Window {
    fault: String,
    from: Instant,
    until: Instant,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_repeated_without_a_fault() {
    let begin = Instant::now();
    let history = Arc::new(History::new(STREAM));
    let mut lab = Lab::start(history.clone()).await;
    println!("{:5.1} s: three nodes and {} members are there", begin.elapsed().as_secs_f64(), lab.members());
    let publishing = tokio::spawn(publishing::publish(lab.client.clone(), history.clone(), lab.wanted.subscribe()));
    let (mut windows, mut struck) = (Vec::new(), 0);
    for fault in FAULTS {
        // Strikes in the midst of it.
        lab.want(CALM + CALM);
        lab.more(CALM).await;
        let (from, before) = (Instant::now(), history.distinct());
        let seen = lab.strike(fault).await;
        // It goes on after each before the next.
        lab.more(CALM).await;
        let until = Instant::now() + AFTERMATH;
        let shown = seen.as_deref().unwrap_or("NO EFFECT, does not count");
        println!("{:5.1} s, {before:5} messages: {fault:?}: {shown}", (from - begin).as_secs_f64());
        struck += usize::from(seen.is_some());
        if fault.ends_leases() {
            windows.push(Window { fault: format!("{fault:?}"), from, until });
        }
    }
    lab.want(MESSAGES);
    let unknown =
        tokio::time::timeout(PATIENCE, publishing).await.expect("publishing ends").expect("it does not panic");
    lab.settled().await;
    lab.end().await;

    let findings = history.findings();
    let mut repeats = vec![0; windows.len()];
    let mut unexplained = Vec::new();
    for repeat in findings.repeated.iter().filter(|repeat| !repeat.maybe_published_twice) {
        let explains = |window: &Window| {
            (window.from..=window.until).contains(&repeat.again) && repeat.first + IN_FLIGHT >= window.from
        };
        match windows.iter().rposition(explains) {
            Some(at) => repeats[at] += 1,
            None => unexplained.push(repeat),
        }
    }
    let by_fault: Vec<_> = windows.iter().map(|window| &window.fault).zip(&repeats).collect();
    println!("{struck} faults in {:.1?}: {findings}, {unknown} publishes unknown; {by_fault:?}", begin.elapsed());
    findings.all_there().unwrap_or_else(|broken| panic!("{broken:?}"));
    assert!(unexplained.is_empty(), "{} repeats that no fault explains: {:?}", unexplained.len(), unexplained[0]);
    assert!(struck >= 10, "only {struck} faults had an effect");
    assert!(findings.confirmed as u64 >= MESSAGES * 9 / 10, "only {} messages were confirmed", findings.confirmed);
}

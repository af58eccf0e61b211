//! Servers that die and are succeeded: by themselves from their file, or by a replica.

use std::collections::{HashMap, HashSet};

use crate::network::{Direction, Proxy, through, way_to};
use crate::prelude::*;
use crate::traffic::{Account, Traffic};

/// For how long a server with `appendfsync everysec` may put a write off while an earlier one is on its way to the disk.
const EVERYSEC_WINDOW: Duration = Duration::from_secs(2);
/// For how long a replica on the same host may be behind.
const REPLICA_WINDOW: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// What was confirmed so shortly before the end, or about it, that it may be lost with the server.
fn just_before(account: &Account, end: Instant, window: Duration) -> HashSet<u64> {
    account.confirmed.iter().filter(|(_, began)| *began + window >= end).map(|(number, _)| *number).collect()
}

/// Makes it a replica of what is at this port, and waits until it has everything.
async fn follow(replica: &Server, port: u16) {
    assert_eq!(replica.cli(&["REPLICAOF", "127.0.0.1", &port.to_string()]), "OK");
    let until = Instant::now() + PATIENCE;
    while !replica.cli(&["INFO", "replication"]).contains("master_link_status:up") {
        assert!(Instant::now() < until, "no replica: {}", replica.cli(&["INFO", "replication"]));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_that_appends_every_second_has_all_but_the_last_moment() {
    const OPTIONS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let mut server = Server::own(&OPTIONS);
    let client = server.config().connect().await.unwrap();
    let stream = unique_stream("everysec");
    let traffic = Traffic::start(&client, &stream, Duration::from_secs(10)).await;
    let began = Instant::now();
    traffic
        .flows_after("at work for longer than the window", began + EVERYSEC_WINDOW + Duration::from_millis(500))
        .await;
    let killed = Instant::now();
    server.kill();
    let at_the_end = traffic.account();
    server.start(&OPTIONS);
    let back = Instant::now();
    let late = traffic.flows_after("after the restart", back).await;
    assert!(late < Duration::from_secs(3), "{late:?}; {}", traffic.summary());
    let account =
        traffic.nothing_is_lost("after the restart", &just_before(&at_the_end, killed, EVERYSEC_WINDOW)).await;
    let old =
        |number: &u64| account.confirmed.iter().any(|(n, began)| n == number && *began + EVERYSEC_WINDOW < killed);
    let mut times: HashMap<u64, usize> = HashMap::new();
    account.handled.iter().for_each(|(number, _)| *times.entry(*number).or_default() += 1);
    let again: Vec<u64> = times.into_iter().filter(|(n, times)| *times > 1 && old(n)).map(|(n, _)| n).collect();
    assert!(again.is_empty(), "acks were lost that were older than the window: {again:?}");
    assert_eq!(account.ended, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_that_a_promoted_replica_never_got_make_duplicates_and_nothing_else() {
    const HANDLED: usize = 20;
    let options = ["--repl-diskless-sync-delay", "0"];
    let (primary, replica) = (Server::own(&options), Server::own(&options));
    let between = way_to(&primary).await;
    follow(&replica, between.addr().port()).await;
    let proxy: Proxy = way_to(&primary).await;
    let client = through(&proxy).connect().await.unwrap();
    let stream = unique_stream("promoted");
    let publisher = client.publisher(stream.as_str()).await.unwrap();
    // What was settled a moment before is taken for an echo at first, and comes after the lease.
    let lease = Duration::from_secs(2);
    let mut consumer = client.consumer(stream.as_str()).group("g").lease(lease).start().await.unwrap();
    for outcome in publisher.publish_all(messages(HANDLED)).await {
        outcome.expect("stored");
    }
    let mut held = Vec::new();
    while held.len() < HANDLED {
        held.push(consumer.next().await.expect("not ended").expect("a delivery"));
    }
    // The replica has the deliveries, and nothing of what follows.
    assert_eq!(primary.cli(&["WAIT", "1", "5000"]), "1");
    let pending = || replica.cli(&["XPENDING", stream.as_str(), "g"]);
    let until = Instant::now() + PATIENCE;
    while !pending().starts_with("20") {
        assert!(Instant::now() < until, "{}", pending());
    }
    between.set_black_hole(&[Direction::FromServer]);
    for delivery in held {
        delivery.ack_confirmed().await.expect("ours");
    }
    publisher.publish("lost with its primary").await.expect("stored");
    let lost = consumer.next().await.expect("not ended").expect("a delivery");
    assert_eq!(lost.payload_str().unwrap(), "lost with its primary");
    lost.ack_confirmed().await.expect("ours");

    assert!(pending().starts_with("20"), "the replica heard of it after all: {}", pending());
    assert_eq!(replica.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    proxy.lead_to(([127, 0, 0, 1], replica.port).into());
    proxy.reset();
    // The reset may meet it on its way.
    while publisher.publish("new").await.is_err() {}
    let mut seen: HashMap<String, usize> = HashMap::new();
    while seen.len() < HANDLED + 1 {
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
        let delivery = next
            .unwrap_or_else(|_| panic!("only {seen:?} came, and pending is {}", pending()))
            .expect("not ended")
            .expect("a delivery");
        *seen.entry(delivery.payload_str().unwrap().to_owned()).or_default() += 1;
        delivery.ack_confirmed().await.expect("ours");
    }
    assert!(seen.contains_key("new") && !seen.contains_key("lost with its primary"), "{seen:?}");
    let status = client.group_status(stream.as_str(), "g").await.unwrap();
    assert_eq!((status.lag, status.in_flight), (Some(0), Some(0)));
    assert!(consumer.close(Duration::from_secs(5)).await.expect("closed").clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_by_sentinels_is_followed() {
    let options = ["--repl-diskless-sync-delay", "0"];
    let (mut primary, replica) = (Server::own(&options), Server::own(&options));
    follow(&replica, primary.port).await;
    let mut sentinel = Server::idle();
    let config = sentinel.directory().join("sentinel.conf");
    let monitor = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000\n",
        primary.port
    );
    std::fs::write(&config, monitor).unwrap();
    sentinel.start_with(Some(&config), &["--sentinel"]);
    let until = Instant::now() + PATIENCE;
    while !sentinel.cli(&["SENTINEL", "replicas", "main"]).contains(&replica.port.to_string()) {
        assert!(Instant::now() < until, "the sentinel does not see the replica");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port);
    let client = RedisConfig::from_url(&url).unwrap().connect().await.unwrap();
    let stream = unique_stream("failover");
    let traffic = Traffic::start(&client, &stream, Duration::from_secs(20)).await;
    traffic.flows_after("at work", Instant::now() + REPLICA_WINDOW).await;
    let killed = Instant::now();
    primary.kill();
    let at_the_end = traffic.account();
    let until = Instant::now() + PATIENCE;
    while !replica.cli(&["INFO", "replication"]).contains("role:master") {
        assert!(Instant::now() < until, "no failover: {}", sentinel.cli(&["SENTINEL", "masters"]));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let promoted = Instant::now();
    let late = traffic.flows_after("after the failover", promoted).await;
    assert!(late < Duration::from_secs(10), "{late:?}; {}", traffic.summary());
    let account =
        traffic.nothing_is_lost("after the failover", &just_before(&at_the_end, killed, REPLICA_WINDOW)).await;
    assert_eq!(account.ended, None);
    assert!(replica.cli(&["XLEN", stream.as_str()]).parse::<usize>().unwrap() > 0);
}

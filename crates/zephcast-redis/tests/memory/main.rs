//! What a member holds is bounded whatever the backlog: the most memory that this process ever had says so. It is a
//! process of its own, with one case.
#![cfg(target_os = "linux")]

#[path = "../seam/server.rs"]
#[expect(dead_code, reason = "the cases of the seam use the rest")]
mod server;

mod prelude {
    //! What the server of the cases needs.

    pub(crate) use std::sync::Arc;
    pub(crate) use std::time::{Duration, Instant};

    pub(crate) use zephcast_redis::{RedisConfig, RedisDriver, StreamName};
}

use crate::prelude::*;
use crate::server::Server;

const MEBIBYTE: usize = 1 << 20;

/// Writes so many messages of this size without a copy of them in this process.
fn fill(server: &Server, stream: &str, count: usize, bytes: usize) {
    let script = "local body = string.rep('x', ARGV[2]) \
        for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'data', body) end return 'done'";
    let done = server.cli(&["EVAL", script, "1", stream, &count.to_string(), &bytes.to_string()]);
    assert_eq!(done, "done");
}

/// The most memory that this process ever had, in MiB.
fn peak() -> usize {
    memory("VmHWM:")
}

fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the process's own status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1_024
}

/// Takes everything, with the first delivery unsettled all the time; returns how many MiB that took at most.
async fn consume(server: &Server, stream: &str, count: usize) -> usize {
    let before = peak();
    let client = server.config().connect().await.expect("a connection");
    let mut consumer = client.consumer(stream).group("g").start().await.expect("joined");
    let stalled = consumer.next().await.expect("not ended").expect("a delivery");
    for _ in 1..count {
        consumer.next().await.expect("not ended").expect("a delivery").ack().expect("ours");
    }
    stalled.ack().expect("ours");
    let report = consumer.close(Duration::from_secs(10)).await.expect("closed");
    assert!(report.clean, "{report:?}");
    peak() - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_half_a_gibibyte_takes_no_more_than_the_window() {
    let server = Server::own(&[]);
    // Beside 16 MiB of messages: the reply that they are slices of, as it grows, and one more that is read meanwhile.
    const MOST: usize = 96;
    for (stream, count, bytes) in [("mebibytes", 512, MEBIBYTE), ("larger", 128, 4 * MEBIBYTE)] {
        fill(&server, stream, count, bytes);
        let took = consume(&server, stream, count).await;
        assert!(took <= MOST, "{took} MiB for {stream}, at most {MOST} are right");
        server.cli(&["DEL", stream]);
    }
    // Small ones first, in reads that are as long as they get; then large ones. One read of 500 may exceed what there is
    // room for, in a buffer that grows with it, and no more than one.
    fill(&server, "switch", 20_000, 100);
    fill(&server, "switch", 256, MEBIBYTE);
    let took = consume(&server, "switch", 20_256).await;
    assert!(took <= 500 + MOST, "{took} MiB");
    server.cli(&["DEL", "switch"]);
    let kept = stall_at_the_switch(&server).await;
    assert!(kept <= MOST, "{kept} MiB are kept for 16 MiB of messages");
}

/// Takes small messages and none of the large ones that come all at once while a long read waits; returns how many MiB
/// that takes in the end.
async fn stall_at_the_switch(server: &Server) -> usize {
    fill(server, "stalled", 3_000, 100);
    let before = memory("VmRSS:");
    let client = server.config().connect().await.expect("a connection");
    let mut consumer = client.consumer("stalled").group("g").start().await.expect("joined");
    for _ in 0..3_000 {
        consumer.next().await.expect("not ended").expect("a delivery").ack().expect("ours");
    }
    fill(server, "stalled", 1_000, MEBIBYTE);
    let until = Instant::now() + Duration::from_secs(10);
    while !server.cli(&["XPENDING", "stalled", "g"]).contains("zephcast/returned") {
        assert!(Instant::now() < until, "nothing was given back");
    }
    // What is freed is freed a moment later.
    let mut kept = usize::MAX;
    while kept > 48 && Instant::now() < until {
        kept = memory("VmRSS:").saturating_sub(before);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    consumer.close(Duration::from_secs(10)).await.expect("closed");
    kept
}

//! A long backlog and a handler that does not come back: what a consumer takes into its process is bounded, by bytes and
//! by messages, whatever there is to take.
//!
//! The embedded broker's log lies in this process, too, so what grows is measured from when the backlog is there. All of
//! its messages share one payload: the backlog counts as 512 MiB and does not hide the little that a consumer adds.

#![cfg(target_os = "linux")]

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use zephcast::memory::{MemoryBroker, MemoryConfig};
use zephcast::{Client, Delivery, GroupBuilder, Message};

const STREAM: &str = "backlog";
const BACKLOG: usize = 512 << 20;
const PAYLOAD: usize = 1 << 10;
const MESSAGES: usize = BACKLOG / PAYLOAD;
/// What a consumer with the default bounds may add to this process. One without bounds adds several times as much, which
/// is looked at in the same run.
const MOST: usize = 32 << 20;
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_stalled_handler_keeps_a_backlog_out_of_memory() {
    let broker = MemoryBroker::with_config(MemoryConfig::new().retention_bytes(4 << 30));
    let client = Client::new(broker.driver());
    publish(&client).await;

    let bytes = client.group(STREAM, "bytes").prefetch(MESSAGES);
    let (in_flight, grown) = stall(&client, "bytes", bytes).await;
    let room = (16 << 20) / PAYLOAD;
    assert!((room / 2..=room).contains(&in_flight), "the bytes fill up, and no more: {in_flight} in flight");
    assert!(grown <= MOST, "{} KiB", grown >> 10);

    let count = client.group(STREAM, "count").prefetch_bytes(BACKLOG * 2);
    let (in_flight, grown) = stall(&client, "count", count).await;
    assert!((500..=1_000).contains(&in_flight), "the count fills up, and no more: {in_flight} in flight");
    assert!(grown <= MOST, "{} KiB", grown >> 10);

    let unbounded = client.group(STREAM, "unbounded").prefetch(MESSAGES * 2).prefetch_bytes(BACKLOG * 2);
    let (in_flight, grown) = stall(&client, "unbounded", unbounded).await;
    assert_eq!(in_flight, MESSAGES);
    assert!(grown > 2 * MOST, "this would not be seen: {} KiB", grown >> 10);
}

async fn publish(client: &Client) {
    let publisher = client.publisher(STREAM).await.expect("a publisher");
    let payload = Bytes::from(vec![b'x'; PAYLOAD]);
    // In pieces, so that their receipts leave no free memory behind that what comes later could grow into unseen.
    for _ in 0..MESSAGES / 512 {
        for receipt in publisher.publish_all((0..512).map(|_| Message::new(payload.clone()))).await {
            receipt.expect("stored");
        }
    }
}

/// Runs a group whose handler stalls until nothing more comes in, and then lets it work off the backlog. Returns how
/// many messages were in flight, and by how many bytes the process had grown at the most until the end.
async fn stall(client: &Client, name: &str, group: GroupBuilder) -> (usize, usize) {
    let (go, gone) = watch::channel(false);
    let (handled, mut count) = watch::channel(0);
    let handler = async |_: &Delivery| {
        let _ = gone.clone().wait_for(|go| *go).await;
        handled.send_modify(|handled| *handled += 1);
        Ok::<_, zephcast::Error>(())
    };
    let before = reset_peak();
    let all_handled = async {
        let _ = count.wait_for(|handled| *handled == MESSAGES).await;
    };
    let look = async {
        let in_flight = settled_down(client, name).await;
        go.send_replace(true);
        in_flight
    };
    let running = async { tokio::join!(group.run(handler, all_handled), look) };
    let (report, in_flight) = tokio::time::timeout(LIMIT, running).await.expect("in time");
    let report = report.expect("a report");
    assert!(report.clean && report.acked == MESSAGES as u64, "{report:?}");
    (in_flight, memory("VmHWM").saturating_sub(before))
}

/// How many messages are in flight once that does not change any more.
async fn settled_down(client: &Client, group: &str) -> usize {
    let mut looks = Vec::new();
    loop {
        // The group may not be there yet.
        let status = client.group_status(STREAM, group).await.ok();
        looks.push(status.and_then(|status| status.in_flight).unwrap_or(0));
        if let [.., last] = looks[..]
            && last > 0
            && looks.iter().rev().take_while(|look| **look == last).count() >= 10
        {
            return usize::try_from(last).expect("a count");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Forgets the highest memory so far, and returns what there is now.
fn reset_peak() -> usize {
    std::fs::write("/proc/self/clear_refs", "5").expect("it is our own process");
    memory("VmRSS")
}

fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect(field);
    let kib: usize = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kib << 10
}

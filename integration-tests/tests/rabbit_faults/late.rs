//! What is due and cannot come back yet is seen all the same.

use std::time::Duration;

use tokio::time::Instant;
use zephcast::Verdict;

use super::lab::{self, GROUP};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_room_in_its_queue_is_delayed() {
    const STREAM: &str = "no-room";
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    let mut member = lab::join(&client, STREAM, 1).await;
    lab::publish(&client, STREAM, 0..1).await;
    let later = Verdict::NackAfter(Duration::from_secs(10));
    lab::next(&mut member).await.settle_confirmed(later).await.expect("waits");
    // The member has one, and the queue more than it may.
    lab::publish(&client, STREAM, 1..12).await;
    let held = lab::next(&mut member).await;
    let full = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    server.ctl(&["set_policy", STREAM, r"^no-room\.all$", full, "--apply-to", "queues"]).await.expect("is set");
    let list = ["list_queues", "--no-table-headers", "name", "messages", "messages_ready"];
    let is_due = async || server.ctl(&list).await.expect("lists").contains("no-room.all.retry-10s\t1\t0\n");
    let until = Instant::now() + lab::PATIENCE;
    while !is_due().await {
        assert!(Instant::now() < until, "its time is never over");
    }
    loop {
        let status = client.group_status(STREAM, GROUP).await.expect("a status");
        if (status.delayed, status.in_flight, status.lag) == (Some(1), Some(1), Some(12)) {
            break;
        }
        assert!(Instant::now() < until, "{status:?}");
    }
    drop(held);
}

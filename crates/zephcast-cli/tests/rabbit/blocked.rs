//! A server that takes no messages for now.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::cases::lab::Lab;

/// The longest that anything awaited here may take.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn publish_says_that_it_waits_and_for_what() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let server = lab.server.as_ref().expect("its own");
    server.raise_memory_alarm().await.expect("raised");
    let mut child = lab.command(&["publish", &stream, "--timeout", "60s"]).spawn().expect("the command");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"one\n").await.expect("it listens");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut line = async || {
        tokio::time::timeout(LIMIT, stderr.next_line()).await.expect("it says something in time").expect("UTF-8")
    };
    let told = line().await.expect("no end");
    assert!(told.contains("publishing waits") && told.contains("memory"), "{told}");
    server.clear_memory_alarm().await.expect("cleared");
    let told = line().await.expect("no end");
    assert!(told.contains("publishing goes on"), "{told}");
    drop(stdin);
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("it ends in time");
    assert!(output.expect("its output").status.success());
}

//! A Redis that takes a command and does not answer it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::broker::Server;
use crate::lab::{LIMIT, Lab};

/// Waits until a paused server has a client whose command waits.
async fn until_blocked(server: &Server) {
    let blocked = async {
        while !server.cli(&["INFO", "clients"]).await.expect("its facts").contains("blocked_clients:1") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, blocked).await.expect("a command waits in time");
}

#[tokio::test]
async fn a_change_that_the_broker_does_not_answer_is_unknown_after_a_signal() {
    for change in [&["dead-letter", "purge", "s", "g", "--yes"][..], &["stream", "delete", "s", "--yes"]] {
        let lab = Lab::own().await;
        lab.fill("s", 1).await;
        let rejected = ["consume", "s", "--group", "g", "--exec", "exit 65", "--count", "1"];
        assert_eq!(lab.run(&rejected, "").await.code, 0);
        let server = lab.server.as_ref().expect("its own");
        // Reading goes on.
        server.cli(&["CLIENT", "PAUSE", "600000", "WRITE"]).await.expect("paused");
        let mut talk = lab.talk(change);
        until_blocked(server).await;
        let began = Instant::now();
        talk.signal(Signal::TERM);
        let (code, heard, stderr) = talk.finish().await;
        assert_eq!((code, heard.len()), (4, 0), "{stderr}");
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert!(stderr.contains("\"s\"") && stderr.contains("unknown"), "{stderr}");
    }
}

#[tokio::test]
async fn a_join_that_the_broker_does_not_answer_is_given_up() {
    for how in [&[][..], &["--exec", "true"]] {
        let lab = Lab::own().await;
        lab.fill("s", 1).await;
        let server = lab.server.as_ref().expect("its own");
        server.cli(&["CLIENT", "PAUSE", "600000", "WRITE"]).await.expect("paused");
        let mut talk = lab.talk(&[&["consume", "s", "--group", "g"], how].concat());
        until_blocked(server).await;
        let began = Instant::now();
        talk.signal(Signal::TERM);
        let (code, heard, stderr) = talk.finish().await;
        assert_eq!((code, &heard.last().expect("a report")["delivered"]), (0, &json!(0)), "{how:?}: {stderr}");
        assert!(began.elapsed() < Duration::from_secs(6), "{how:?}: {:?}", began.elapsed());
    }
}

//! What Redis refuses.

use std::time::Duration;

use tokio::time::Instant;

use crate::broker;
use crate::lab::{CANARY, Lab, command, run};

#[tokio::test]
async fn what_redis_cannot_do_is_refused() {
    let lab = Lab::start().await;
    let partitions = lab.run(&["stream", "create", &lab.stream(), "--partitions", "2"], "").await;
    assert_eq!(partitions.code, 2, "{partitions:?}");
    assert!(partitions.stderr.contains("partition") || partitions.stderr.contains("unit"), "{partitions:?}");
}

#[tokio::test]
async fn a_wrong_password_fails_at_once_and_is_not_shown() {
    let lab = Lab::of(broker::start_with(&["--requirepass", "right"]).await);
    let bare = lab.url.trim_start_matches("redis://");
    for (url, arguments) in [
        (format!("redis://:{CANARY}@{bare}"), &["check"][..]),
        (format!("redis://:{CANARY}@{bare}"), &["-vvv", "consume", "s", "--group", "g"]),
        (format!("redis://nobody:{CANARY}@{bare}"), &["publish", "s", "x"]),
        (lab.url.clone(), &["check"]),
    ] {
        let began = Instant::now();
        let done = run(command(&url, arguments), b"").await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "at once, not after the connect timeout");
        assert!(!format!("{done:?}").contains(CANARY), "{done:?}");
    }
    let right = run(command(&format!("redis://:right@{bare}"), &["check"]), b"").await;
    assert_eq!(right.code, 0, "{right:?}");
}

#[tokio::test]
async fn a_key_of_another_type_is_told() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    lab.server.as_ref().expect("its own").cli(&["SET", &stream, "text"]).await.expect("a key");
    let published = lab.run(&["publish", &stream, "x"], "").await;
    assert_eq!(published.code, 1, "{published:?}");
    assert!(published.stderr.contains(&stream) && published.stderr.contains("string"), "{published:?}");
    let consumed = lab.run(&["consume", &stream, "--group", "g"], "").await;
    assert_eq!(consumed.code, 1, "{consumed:?}");
}

#[tokio::test]
async fn a_refused_ack_is_no_clean_end() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    lab.fill(&stream, 3).await;
    let server = lab.server.as_ref().expect("its own");
    server.cli(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-xack"]).await.expect("a user");
    let url = lab.url.replace("redis://", "redis://app:pw@");
    let done = run(command(&url, &["consume", &stream, "--group", "g", "--count", "3"]), b"").await;
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("not allowed") && done.stderr.contains("xack"), "{done:?}");
}

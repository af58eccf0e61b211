//! `consume` as it is without further options: printed, then acked.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, timeout};

use super::lab::{LIMIT, Lab};
use crate::broker;

#[tokio::test]
async fn records_are_as_the_contract_says() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    lab.run(&["publish", &stream, "hello", "--key", "k", "--id", "i", "--create"], "").await;
    let done = lab.run(&["consume", &stream, "--group", "g", "--member", "me", "--count", "1"], "").await;
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<_> = done.stdout.lines().collect();
    let joined = format!(r#"{{"event":"joined","member":"me","group":"g","broker":"{}"}}"#, broker::NAME);
    assert_eq!(lines[0], joined);
    assert_eq!(lines[1], r#"{"event":"assigned","units":["0"]}"#);
    let delivery = &done.of("delivery")[0];
    let position = delivery["position"].as_str().expect("text");
    let published = delivery["published_ms"].as_u64().expect("a number");
    broker::check_position(position, Some(published));
    assert_eq!(
        lines[2],
        format!(
            concat!(
                r#"{{"event":"delivery","token":1,"position":"{}","id":"i","key":"k","headers":{{}},"payload":"hello","#,
                r#""attempt":1,"redelivered":false,"published_ms":{},"member":"me"}}"#
            ),
            position, published
        )
    );
    assert!(
        lines[3].starts_with(
            r#"{"event":"report","delivered":1,"acked":1,"returned":0,"dead_lettered":0,"clean":true,"seconds":"#
        ),
        "{}",
        lines[3]
    );
    assert_eq!(lines.len(), 4);
}

#[tokio::test]
async fn text_is_the_bare_payload_a_line() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let lines = lab.fill(&stream, 3).await;
    let done = lab.run(&["consume", &stream, "--group", "g", "--count", "3", "--output", "text"], "").await;
    assert_eq!((done.code, done.stdout.lines().map(str::to_owned).collect()), (0, lines));
    assert!(done.stderr.contains("delivered 3, acked 3"), "{done:?}");
}

#[tokio::test]
async fn the_count_takes_no_more_than_it_settles() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let lines = lab.fill(&stream, 100).await;
    let first = lab.run(&["consume", &stream, "--group", "g", "--count", "37"], "").await;
    let rest = lab.run(&["consume", &stream, "--group", "g", "--idle-exit", "500ms"], "").await;
    assert_eq!((first.code, rest.code), (0, 0), "{first:?} {rest:?}");
    assert_eq!(first.payloads(), lines[..37]);
    assert_eq!(rest.payloads(), lines[37..]);
    assert!(rest.of("delivery").iter().all(|delivery| delivery["attempt"] == 1), "none was tried before");
    assert_eq!(first.of("report")[0]["acked"], 37);
}

#[tokio::test]
async fn the_count_is_that_of_all_members_together() {
    let lab = Lab::start_wide().await;
    let stream = lab.stream();
    lab.fill(&stream, 100).await;
    let done = lab.run(&["consume", &stream, "--group", "g", "--members", "3", "--count", "10"], "").await;
    assert_eq!((done.code, done.payloads().len()), (0, 10), "{done:?}");
    let report = &done.of("report")[0];
    assert_eq!((&report["delivered"], &report["acked"]), (&json!(10), &json!(10)));
    let rest = lab.run(&["consume", &stream, "--group", "g", "--idle-exit", "500ms"], "").await;
    assert_eq!((rest.code, rest.payloads().len()), (0, 90), "{rest:?}");
}

#[tokio::test]
async fn it_leaves_when_it_was_idle_for_long_enough() {
    let lab = Lab::start().await;
    let began = Instant::now();
    let done = lab.run(&["consume", &lab.stream(), "--group", "g", "--create", "--idle-exit", "700ms"], "").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(began.elapsed().as_millis() >= 700);
    assert_eq!(done.of("report")[0]["clean"], true);
}

#[tokio::test]
async fn several_members_share_the_stream() {
    let lab = Lab::start_wide().await;
    let stream = lab.stream();
    let lines = lab.fill(&stream, 500).await;
    let arguments = ["consume", &stream, "--group", "g", "--members", "3", "--member", "m", "--count", "500"];
    let done = lab.run(&arguments, "").await;
    assert_eq!(done.code, 0, "{done:?}");
    let joined: BTreeSet<_> = done.of("joined").iter().map(|joined| joined["member"].to_string()).collect();
    assert_eq!(joined, BTreeSet::from(["\"m-1\"", "\"m-2\"", "\"m-3\""].map(str::to_owned)));
    let seen = done.payloads();
    assert_eq!(seen.len(), 500);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), lines.into_iter().collect());
    assert_eq!(done.of("report")[0]["acked"], 500);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_a_normal_end_and_what_it_cannot_have_seen_comes_again() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    // More than a pipe holds, so that most of it cannot be written.
    let lines: Vec<_> = (0..2_000).map(|n| format!("{n:0>200}")).collect();
    lab.publish(&stream, &lines).await;
    let mut command = lab.command(&["consume", &stream, "--group", "g", "--output", "text"]);
    let mut child = command.stderr(Stdio::null()).spawn().expect("the command");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = timeout(LIMIT, stdout.next_line()).await.expect("in time").expect("UTF-8").expect("a line");
    assert_eq!(first, lines[0]);
    drop(stdout);
    let status = timeout(LIMIT, child.wait()).await.expect("it ends in time").expect("its status");
    assert_eq!(status.code(), Some(0));
    let rest = lab.run(&["consume", &stream, "--group", "g", "--idle-exit", "1s"], "").await.payloads();
    let acked = lines.len() - rest.len();
    // 326 lines fill a pipe of 64 KiB, and the reader had taken some into a buffer of 8 KiB.
    assert!((1..400).contains(&acked), "{acked} were acked");
    assert_eq!(rest, lines[acked..]);
}

#[tokio::test]
async fn a_reader_that_leaves_while_it_is_quiet_is_noticed_too() {
    let lab = Lab::start().await;
    let mut command = lab.command(&["consume", &lab.stream(), "--group", "g", "--create"]);
    let mut child = command.spawn().expect("the command");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
    for _ in ["joined", "assigned"] {
        timeout(LIMIT, stdout.next_line()).await.expect("in time").expect("UTF-8").expect("a line");
    }
    drop(stdout);
    let status = timeout(LIMIT, child.wait()).await.expect("it ends in time").expect("its status");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_missing_stream_is_created_only_when_asked_to() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let missing = lab.run(&["consume", &stream, "--group", "g", "--idle-exit", "100ms"], "").await;
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains(&stream) && missing.stderr.contains("--create"), "{missing:?}");
    let created = lab.run(&["consume", &stream, "--group", "g", "--create", "--idle-exit", "100ms"], "").await;
    assert_eq!(created.code, 0, "{created:?}");
}

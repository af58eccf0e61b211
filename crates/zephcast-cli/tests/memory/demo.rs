//! `demo`.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use super::{LIMIT, finish, records, run, start};

#[tokio::test]
async fn it_is_told_checked_and_soon_over() {
    let began = Instant::now();
    let done = run(&["demo"]).await;
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{}", done.stdout);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let steps = records(&done.stdout);
    assert!(steps.iter().all(|step| step["event"] == "step" && step["seconds"].is_f64()), "{steps:?}");
    let of = |what: &str| steps.iter().filter(|step| step["what"] == what).collect::<Vec<_>>();
    let says = |what: &str, word: &str| of(what).iter().any(|step| text(step).contains(word));
    for member in ["ada", "bob", "cleo"] {
        assert!(says("assigned", member), "{member}: {steps:?}");
    }
    assert!(says("crashed", "bob") && says("dead_lettered", "customer 13"), "{steps:?}");
    assert_eq!((of("crashed").len(), of("dead_lettered").len()), (1, 1), "{steps:?}");
    assert!(text(of("failed").last().expect("a failure")).ends_with("attempt 3 of 3"), "{steps:?}");
    let crashed = text(of("crashed")[0]);
    let order = crashed.split(" with ").nth(1).and_then(|rest| rest.split(" in ").next()).expect("an order");
    assert!(says("handled", &format!("{order}, which had come before")), "{order}: {steps:?}");
    assert!(!of("left").iter().any(|step| text(step).contains("bob")), "who crashed does not leave: {steps:?}");
    assert_eq!(steps.last().expect("an end")["what"], "checked");
}

#[tokio::test]
async fn people_read_it_as_text() {
    let done = run(&["demo", "--output", "text"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.lines().all(|line| line.contains(" s  ")), "{}", done.stdout);
    assert!(done.stdout.lines().last().expect("an end").contains("checked: 29 orders are handled"), "{}", done.stdout);
}

#[tokio::test]
async fn a_signal_ends_it_before_its_end() {
    let mut child = start(&["demo"]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    timeout(LIMIT, lines.next_line()).await.expect("in time").expect("UTF-8").expect("it has begun");
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw).expect("it runs");
    kill_process(pid, Signal::INT).expect("it runs");
    assert_eq!(finish(child).await.code, Some(130));
}

fn text(step: &Value) -> &str {
    step["text"].as_str().expect("text")
}

//! Signals, kills, and what is left of a group after them.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::lab::{LIMIT, Lab, payloads};
use crate::broker;

#[tokio::test]
async fn a_signal_drains_and_leaves() {
    for signal in [Signal::TERM, Signal::INT] {
        let lab = Lab::start().await;
        let stream = lab.stream();
        lab.fill(&stream, 10).await;
        let mut talk = lab.talk(&["consume", &stream, "--group", "g"]);
        for _ in 0..10 {
            talk.until("delivery").await;
        }
        talk.signal(signal);
        let (code, heard, stderr) = talk.finish().await;
        assert_eq!(code, 0, "{stderr}");
        let report = heard.last().expect("a report");
        assert_eq!((&report["acked"], &report["clean"]), (&json!(10), &json!(true)), "{report}");
    }
}

#[tokio::test]
async fn a_running_command_is_waited_for_and_its_result_counts() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 3).await;
    let mut talk = lab.talk(&["consume", &stream, "--group", "g", "--exec", "sleep 0.5"]);
    talk.until("delivery").await;
    talk.signal(Signal::TERM);
    let (code, heard, stderr) = talk.finish().await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!((payloads(&heard).len(), &heard.last().expect("a report")["acked"]), (1, &json!(1)));
}

#[tokio::test]
async fn work_that_outlasts_the_drain_is_given_back_and_told() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 1).await;
    let mut talk = lab.talk(&["consume", &stream, "--group", "g", "--exec", "sleep 60", "--drain", "1s"]);
    talk.until("delivery").await;
    let began = Instant::now();
    talk.signal(Signal::TERM);
    let (code, heard, stderr) = talk.finish().await;
    assert_eq!(code, 1, "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let report = heard.last().expect("a report");
    assert_eq!((&report["returned"], &report["clean"]), (&json!(1), &json!(false)));
    assert!(stderr.contains("unfinished"), "{stderr}");
    let next = lab.run(&["consume", &stream, "--group", "g", "--count", "1"], "").await;
    assert_eq!(next.payloads(), ["m0"]);
}

#[tokio::test]
async fn verdicts_are_heeded_while_it_drains() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 1).await;
    let mut talk = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin"]);
    let delivery = talk.until("delivery").await;
    talk.signal(Signal::TERM);
    talk.say(&json!({"ack": delivery["token"]}).to_string()).await;
    talk.say(r#"{"commit":true}"#).await;
    assert_eq!(talk.until("settled").await["result"], "ok");
    let (code, heard, stderr) = talk.finish().await;
    assert_eq!(code, 0, "{stderr}");
    assert!(heard.iter().any(|record| record["event"] == "committed"), "{heard:?}");
    assert_eq!(heard.last().expect("a report")["acked"], 1);
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 1).await;
    let mut talk = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin"]);
    talk.until("delivery").await;
    let began = Instant::now();
    talk.signal(Signal::TERM);
    // The first is being heeded when a verdict is still answered and no report comes.
    talk.say("?").await;
    talk.until("error").await;
    talk.signal(Signal::INT);
    let (code, _, _) = talk.finish().await;
    assert_eq!(code, 130);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_signal_ends_a_publish_with_its_summary() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let mut talk = lab.talk(&["publish", &stream, "--create"]);
    talk.say("one").await;
    talk.until("published").await;
    talk.signal(Signal::TERM);
    let (code, heard, _) = talk.finish().await;
    assert_eq!((code, &heard.last().expect("a summary")["stored"]), (0, &json!(1)));
}

#[tokio::test]
async fn whoever_is_still_connecting_gives_its_account_and_ends() {
    for (arguments, expected, last) in [
        (&["publish", "s", "--create"][..], 130, Some(json!({"stored": 0, "failed": 0, "unknown": 0}))),
        (&["consume", "s", "--group", "g"], 0, Some(json!({"event": "report", "delivered": 0, "clean": true}))),
        (&["check"], 130, None),
        (&["stream", "list"], 130, None),
        (&["group", "status", "s", "--fail-on", "stuck"], 130, None),
        (&["group", "watch", "s"], 0, None),
        (&["dead-letter", "purge", "s", "g", "--yes"], 130, None),
    ] {
        // It takes connections and says nothing.
        let silence = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("{}://{}", broker::SCHEME, silence.local_addr().expect("its address"));
        let lab = Lab { url, server: None };
        let began = Instant::now();
        let mut talk = lab.talk(arguments);
        // It has its signal handlers before it connects.
        let _connected = timeout(LIMIT, silence.accept()).await.expect("in time").expect("a connection");
        talk.signal(Signal::INT);
        let (code, heard, stderr) = talk.finish().await;
        assert_eq!(code, expected, "{arguments:?}: {stderr}");
        assert!(began.elapsed() < Duration::from_secs(5), "{arguments:?}: {:?}", began.elapsed());
        let said = heard.last();
        let matches = |expected: &serde_json::Value| {
            let fields = expected.as_object().expect("an object");
            said.is_some_and(|said| fields.iter().all(|(key, value)| said[key] == *value))
        };
        assert!(last.as_ref().map_or(said.is_none(), matches), "{arguments:?}: {heard:?}");
    }
}

#[tokio::test]
async fn a_reader_that_stalls_is_left_after_the_drain_or_at_a_second_signal() {
    let lab = Lab::start().await;
    for (drain, signals, expected) in [("1s", &[Signal::TERM][..], 1), ("50s", &[Signal::TERM, Signal::INT], 130)] {
        let stream = lab.stream();
        // More than a pipe holds.
        lab.publish(&stream, &["x".repeat(900_000)]).await;
        let mut child = lab.command(&["consume", &stream, "--group", "g", "--drain", drain]).spawn().expect("a start");
        let mut stdout = child.stdout.take().expect("piped");
        let mut seen = Vec::new();
        while !seen.ends_with(b"xxxx") {
            seen.push(timeout(LIMIT, stdout.read_u8()).await.expect("in time").expect("a byte"));
        }
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw).expect("it runs");
        let began = Instant::now();
        for signal in signals {
            kill_process(pid, *signal).expect("it runs");
        }
        let status = timeout(LIMIT, child.wait()).await.expect("it ends in time").expect("its status");
        assert_eq!(status.code(), Some(expected), "{drain}");
        assert!(began.elapsed() < Duration::from_secs(8), "{drain}: {:?}", began.elapsed());
        let next = lab.run(&["consume", &stream, "--group", "g", "--count", "1", "--idle-exit", "1s"], "").await;
        assert!(expected == 130 || next.payloads().len() == 1, "what nobody read is not acked");
    }
}

#[tokio::test]
async fn one_of_two_consumers_is_killed_and_the_union_is_complete() {
    let lab = Lab::start_wide().await;
    let stream = lab.stream();
    let arguments = ["consume", &stream, "--group", "g", "--create", "--lease", "1s", "--idle-exit", "8s"];
    // Both have a share before there is anything to take.
    let mut victim = lab.talk(&arguments);
    victim.until("assigned").await;
    let mut survivor = lab.talk(&arguments);
    survivor.until("assigned").await;
    // Keys spread them over all units.
    let lines: Vec<_> = (0..4_000).map(|n| format!("m{n}")).collect();
    let records: Vec<_> = lines.iter().map(|line| json!({"payload": line, "key": line}).to_string()).collect();
    assert_eq!(lab.run(&["publish", &stream, "--jsonl"], records.join("\n")).await.code, 0);
    let survivor = tokio::spawn(survivor.finish());
    for _ in 0..300 {
        victim.until("delivery").await;
    }
    victim.signal(Signal::KILL);
    let (_, seen, _) = victim.finish().await;
    let (code, rest, stderr) = survivor.await.expect("the survivor");
    assert_eq!(code, 0, "{stderr}");
    let union: BTreeSet<_> = payloads(&seen).into_iter().chain(payloads(&rest)).collect();
    let missing: Vec<_> = lines.iter().filter(|line| !union.contains(*line)).collect();
    assert!(missing.is_empty(), "{} are missing: {missing:?}", missing.len());
}

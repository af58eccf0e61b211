//! Usage errors, brokers that are not there, credentials that are wrong.

use std::process::Stdio;
use std::time::Duration;

use integration_tests::ports;
use tokio::time::Instant;

use super::lab::{CANARY, Lab, command, run};
use crate::broker::SCHEME;

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    for (url, part) in [
        (format!("{SCHEME}://127.0.0.1:1/?speed=high"), "speed"),
        (format!("{SCHEME}://127.0.0.1:1/#insecure"), "fragment"),
        ("carrier-pigeon://roof".into(), "carrier-pigeon"),
        (format!("{SCHEME}://127.0.0.1:99999"), "99999"),
        ("localhost:6379".into(), "SCHEME"),
        ("memory://?speed=high".into(), "speed"),
    ] {
        let done = run(command(&url, &["check"]), b"").await;
        assert_eq!(done.code, 2, "{url}: {done:?}");
        assert!(done.stderr.contains(part), "{url}: {done:?}");
        assert_eq!(done.stdout, "");
    }
    let nowhere = {
        let mut command = command("", &["check"]);
        command.env_remove("ZEPHCAST_URL");
        run(command, b"").await
    };
    assert_eq!(nowhere.code, 2);
    assert!(nowhere.stderr.contains("--url"), "{nowhere:?}");
}

#[tokio::test]
async fn bad_options_are_usage_errors() {
    for arguments in [
        &["publish", "a b", "x"][..],
        &["publish", "s", "x", "--header", "novalue"],
        &["publish", "s", "x", "--rate", "0"],
        &["publish", "s", "x", "--in-flight", "0"],
        &["publish", "s", "x", "--timeout", "5"],
        &["publish", "s", "x", "--jsonl"],
        &["consume", "s"],
        &["consume", "s", "--group", ""],
        &["consume", "s", "--group", "g", "--count", "0"],
        &["consume", "s", "--group", "g", "--prefetch", "0"],
        &["consume", "s", "--group", "g", "--max-attempts", "0"],
        &["consume", "s", "--group", "g", "--from", "yesterday"],
        &["consume", "s", "--group", "g", "--create", "--lease", "1ms"],
        &["consume", "s", "--group", "g", "--exec", "true", "--settle", "stdin"],
        &["group", "status", "s", "g", "--fail-on", "ok"],
        &["group", "watch", "s", "--interval", "0s"],
        &["group", "watch", "s", "--count", "0"],
        &["stream", "create", "s", "--partitions", "0"],
        &["no-such-command"],
    ] {
        let done = run(command("memory://", arguments), b"").await;
        assert_eq!(done.code, 2, "{arguments:?}: {done:?}");
        assert!(!done.stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn nothing_is_acked_into_a_closed_stdout() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 1).await;
    let consume = |redirection: &str| {
        let text = format!("exec \"$0\" consume \"$1\" --group g --count 1 {redirection}");
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", &text, env!("CARGO_BIN_EXE_zephcast"), &stream]).env("ZEPHCAST_URL", &lab.url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    };
    let closed = run(consume(">&-"), b"").await;
    assert_eq!(closed.code, 2, "{closed:?}");
    assert!(closed.stderr.contains("stdout is closed"), "{closed:?}");
    // It is still there, and to discard it is what was asked for here.
    let discarded = run(consume("--output json >/dev/null"), b"").await;
    assert_eq!(discarded.code, 0, "{discarded:?}");
    let status = lab.run(&["group", "status", &stream, "g", "--window", "0s"], "").await;
    assert_eq!(status.of("group")[0]["lag"], 0, "{status:?}");
}

#[tokio::test]
async fn nobody_listening_is_given_up_after_the_connect_timeout_naming_host_and_port() {
    let port = ports::free().expect("a port");
    let url = format!("{SCHEME}://app:{CANARY}@127.0.0.1:{port}");
    for arguments in [&["check"][..], &["consume", "s", "--group", "g"], &["publish", "s", "x"]] {
        let began = Instant::now();
        let done = run(command(&url, &[arguments, &["--connect-timeout", "1s"]].concat()), b"").await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(done.stderr.contains("127.0.0.1") && done.stderr.contains(&port.to_string()), "{done:?}");
        assert!(!done.stderr.contains(CANARY), "{done:?}");
    }
}

#[tokio::test]
async fn an_outage_is_told_and_outlived() {
    let mut lab = Lab::own().await;
    let stream = lab.stream();
    lab.fill(&stream, 3).await;
    let mut talk = lab.talk(&["consume", &stream, "--group", "g", "--count", "4"]);
    for _ in 0..3 {
        talk.until("delivery").await;
    }
    let server = lab.server.as_mut().expect("its own");
    server.shut_down().await.expect("ended");
    let reason = talk.until("disconnected").await["reason"].to_string();
    assert!(reason.len() > 4, "{reason}");
    server.restart().await.expect("restarted");
    lab.run(&["publish", &stream, "after"], "").await;
    assert!(talk.until("reconnected").await["seconds"].is_f64());
    let (code, heard, stderr) = talk.finish().await;
    assert_eq!(code, 0, "{stderr}");
    assert!(heard.iter().any(|record| record["payload"] == "after"), "{heard:?}");
}

#[tokio::test]
async fn a_publish_without_an_answer_is_unknown_unless_it_is_sent_again() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let mut talk = lab.talk(&["publish", &stream, "--create", "--timeout", "1s"]);
    let mut stubborn = lab.talk(&["publish", &stream, "--create", "--timeout", "1s", "--resend", "100"]);
    for talk in [&mut talk, &mut stubborn] {
        talk.say("one").await;
        assert_eq!(talk.until("published").await["outcome"], "stored");
    }
    let server = lab.server.as_ref().expect("its own");
    server.stop().expect("frozen");
    stubborn.say("two").await;
    talk.say("two").await;
    let unknown = talk.until("published").await;
    assert_eq!((&unknown["outcome"], &unknown["error"]["kind"]), (&"unknown".into(), &"timeout".into()), "{unknown}");
    assert!(unknown["id"].is_string(), "it can be published again with its id: {unknown}");
    talk.hush();
    let (code, heard, _) = talk.finish().await;
    server.cont().expect("it goes on");
    assert_eq!((code, &heard.last().expect("a summary")["unknown"]), (4, &1.into()));
    let stored = stubborn.until("published").await;
    assert_eq!((&stored["outcome"], &stored["n"]), (&"stored".into(), &1.into()), "{stored}");
    stubborn.hush();
    assert_eq!(stubborn.finish().await.0, 0);
}

//! `consume --settle none`: looking without taking.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, timeout};

use super::lab::{LIMIT, Lab, command, payloads, run};
use crate::broker;

fn browse<'a>(stream: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["consume", stream, "--group", "g", "--settle", "none"], more].concat()
}

#[tokio::test]
async fn records_are_as_the_contract_says_and_nobody_has_joined() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.run(&["publish", &stream, "hello", "--key", "k", "--header", "h=v", "--id", "i", "--create"], "").await;
    let done = lab.run(&browse(&stream, &["--count", "1", "--member", "me"]), "").await;
    assert_eq!(done.code, 0, "{done:?}");
    let delivery = &done.of("delivery")[0];
    let position = delivery["position"].as_str().expect("text");
    let published = delivery["published_ms"].as_u64().expect("a number");
    broker::check_position(position, Some(published));
    assert_eq!(
        done.stdout,
        format!(
            concat!(
                r#"{{"event":"delivery","token":1,"position":"{}","id":"i","key":"k","headers":{{"h":"v"}},"payload":"hello","#,
                r#""attempt":1,"redelivered":false,"published_ms":{},"member":"me"}}"#,
                "\n",
                r#"{{"event":"report","delivered":1,"acked":0,"returned":0,"dead_lettered":0,"clean":true,"seconds":0.0}}"#,
                "\n",
            ),
            position, published
        )
    );
    let unnamed = lab.run(&browse(&stream, &["--count", "1"]), "").await.of("delivery").remove(0);
    assert!(unnamed["member"].as_str().is_some_and(|name| !name.is_empty()), "{unnamed}");
    let shown = lab.run(&["stream", "show", &stream], "").await.of("stream");
    assert_eq!(shown[0]["groups"], json!([]), "no group came to be");
}

#[tokio::test]
async fn a_living_member_goes_on_undisturbed() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let lines = lab.fill(&stream, 20).await;
    let mut holder = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin", "--prefetch", "5"]);
    let mut held: Vec<Value> = Vec::new();
    for _ in 0..5 {
        held.push(holder.until("delivery").await["token"].clone());
    }
    let figures = async || {
        let status = lab.status_when(&stream, |status| status["in_flight"] == 5).await;
        let member = |member: &Value| (member["name"].clone(), member["in_flight"].clone());
        let members: Vec<_> = status["members"].as_array().expect("members").iter().map(member).collect();
        let keys = ["lag", "in_flight", "delayed", "dead_letters", "units"];
        (keys.map(|key| status[key].clone()), members)
    };
    let before = figures().await;
    assert_eq!((&before.0[0], &before.0[1], before.1.len()), (&json!(20), &json!(5), 1), "{before:?}");
    for _ in 0..2 {
        let done = lab.run(&browse(&stream, &["--count", "20"]), "").await;
        assert_eq!((done.code, done.payloads()), (0, lines.clone()));
    }
    assert_eq!(figures().await, before);
    for token in held {
        holder.say(&json!({"ack": token}).to_string()).await;
        assert_eq!(holder.until("settled").await["result"], "ok");
    }
    holder.hush();
    let (code, _, stderr) = holder.finish().await;
    assert_eq!(code, 0, "{stderr}");
    let rest = lab.run(&["consume", &stream, "--group", "g", "--count", "15"], "").await;
    assert_eq!(rest.payloads(), lines[5..]);
    let first = |delivery: &Value| delivery["attempt"] == 1 && delivery["redelivered"] == false;
    assert!(rest.of("delivery").iter().all(first), "looking counted as an attempt: {rest:?}");
}

#[tokio::test]
async fn it_goes_on_with_what_is_published_later_until_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let lab = Lab::start().await;
        let stream = lab.stream();
        lab.fill(&stream, 3).await;
        let mut talk = lab.talk(&browse(&stream, &[]));
        for _ in 0..3 {
            talk.until("delivery").await;
        }
        lab.publish(&stream, &["later".to_owned()]).await;
        assert_eq!(talk.until("delivery").await["payload"], "later");
        talk.signal(signal);
        let (code, heard, stderr) = talk.finish().await;
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(payloads(&heard), ["m0", "m1", "m2", "later"]);
        let report = heard.last().expect("a report");
        assert_eq!((&report["event"], &report["delivered"]), (&json!("report"), &json!(4)));
    }
}

#[tokio::test]
async fn it_begins_where_it_is_told_and_the_count_is_that_of_what_was_printed() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    // More than one look brings.
    let lines = lab.fill(&stream, 2_500).await;
    let whole = lab.run(&browse(&stream, &["--count", "2500"]), "").await;
    assert_eq!((whole.code, whole.payloads()), (0, lines.clone()));
    assert_eq!(whole.of("report")[0]["delivered"], 2_500);
    let few = lab.run(&browse(&stream, &["--count", "7", "--prefetch", "3"]), "").await;
    assert_eq!((few.code, few.payloads()), (0, lines[..7].to_vec()));
    let deliveries = whole.of("delivery");
    let at = deliveries[2_490]["position"].as_str().expect("text");
    let rest = lab.run(&browse(&stream, &["--from", at, "--idle-exit", "300ms"]), "").await;
    assert_eq!((rest.code, rest.payloads()), (0, lines[2_490..].to_vec()));
    let since = lab.run(&browse(&stream, &["--from", "2020-01-01T00:00:00Z", "--count", "1"]), "").await;
    assert_eq!(since.payloads(), ["m0"]);
    let future = lab.run(&browse(&stream, &["--from", "2200-01-01T00:00:00Z", "--idle-exit", "300ms"]), "").await;
    assert_eq!((future.code, future.payloads()), (0, Vec::new()));

    let mut latest = lab.talk(&browse(&stream, &["--from", "latest", "--count", "1", "--output", "json"]));
    // It says nothing before the first message, so it is published to until it has seen one.
    let seen = async {
        loop {
            lab.publish(&stream, &["new".to_owned()]).await;
            if let Ok(record) = timeout(Duration::from_millis(500), latest.next()).await {
                return record.expect("a record");
            }
        }
    };
    assert_eq!(timeout(LIMIT, seen).await.expect("in time")["payload"], "new");
    assert_eq!(latest.finish().await.0, 0);
}

#[tokio::test]
async fn it_leaves_when_it_was_idle_for_long_enough() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.run(&["stream", "create", &stream], "").await;
    let began = Instant::now();
    let done = lab.run(&browse(&stream, &["--idle-exit", "700ms"]), "").await;
    assert_eq!((done.code, &done.of("report")[0]["delivered"]), (0, &json!(0)), "{done:?}");
    assert!(began.elapsed().as_millis() >= 700);
}

#[tokio::test]
async fn text_is_the_bare_payload_a_line() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let lines = lab.fill(&stream, 3).await;
    let done = lab.run(&browse(&stream, &["--count", "3", "--output", "text"]), "").await;
    assert_eq!((done.code, done.stdout.lines().map(str::to_owned).collect()), (0, lines));
    assert!(done.stderr.contains("neither joined nor moved") && done.stderr.contains("delivered 3"), "{done:?}");
}

#[tokio::test]
async fn a_missing_stream_is_named_and_not_created() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    for url in [lab.url.as_str(), "memory://"] {
        let missing = run(command(url, &browse(&stream, &["--idle-exit", "100ms"])), b"").await;
        assert_eq!((missing.code, missing.stdout.as_str()), (1, ""), "{missing:?}");
        assert!(missing.stderr.contains(&stream) && !missing.stderr.contains("--create"), "{missing:?}");
    }
    assert_eq!(lab.run(&["stream", "show", &stream], "").await.code, 1);
}

#[tokio::test]
async fn options_of_members_are_refused() {
    let nobody = format!("{}://127.0.0.1:1", broker::SCHEME);
    for (option, url) in [(&["--create"][..], nobody.as_str()), (&["--members", "2"], "memory://")] {
        let refused = run(command(url, &browse("s", option)), b"").await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(option[0]), "{refused:?}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_a_normal_end() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let lines: Vec<_> = (0..2_000).map(|n| format!("{n:0>200}")).collect();
    lab.publish(&stream, &lines).await;
    let mut command = lab.command(&browse(&stream, &["--output", "text"]));
    let mut child = command.stderr(Stdio::null()).spawn().expect("the command");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = timeout(LIMIT, stdout.next_line()).await.expect("in time").expect("UTF-8").expect("a line");
    assert_eq!(first, lines[0]);
    drop(stdout);
    let status = timeout(LIMIT, child.wait()).await.expect("it ends in time").expect("its status");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn an_outage_is_told_and_outlived_and_a_deleted_stream_ends_it() {
    let mut lab = Lab::own().await;
    let stream = lab.stream();
    lab.fill(&stream, 3).await;
    let mut talk = lab.talk(&browse(&stream, &[]));
    for _ in 0..3 {
        talk.until("delivery").await;
    }
    let server = lab.server.as_mut().expect("its own");
    server.kill9().expect("killed");
    assert!(talk.until("disconnected").await["reason"].as_str().expect("text").len() > 4);
    server.restart().await.expect("restarted");
    assert!(talk.until("reconnected").await["seconds"].is_f64());
    lab.publish(&stream, &["after".to_owned()]).await;
    assert_eq!(talk.until("delivery").await["payload"], "after");
    lab.run(&["stream", "delete", &stream, "--yes"], "").await;
    let (code, heard, stderr) = talk.finish().await;
    assert_eq!((code, &heard.last().expect("a report")["delivered"]), (1, &json!(4)));
    assert!(stderr.contains(&stream), "{stderr}");
}

//! `--settle stdin`: verdicts by any program.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::lab::Lab;

fn token(delivery: &Value) -> u64 {
    delivery["token"].as_u64().expect("a token")
}

#[tokio::test]
async fn every_verdict_does_what_it_says() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.publish(&stream, &["ack", "nack", "fail", "reject"].map(str::to_owned)).await;
    let arguments = [
        "consume",
        &stream,
        "--group",
        "g",
        "--settle",
        "stdin",
        "--max-attempts",
        "2",
        "--retry-delay",
        "10ms",
        "--count",
        "4",
    ];
    let mut talk = lab.talk(&arguments);
    let (mut nacked, mut last) = (0, None);
    while last.is_none() {
        let record = talk.next().await.expect("it goes on until four are settled");
        let payload = record["payload"].as_str().unwrap_or_default();
        match (record["event"].as_str().expect("an event"), payload) {
            ("delivery", "ack") => talk.say(&json!({"ack": token(&record)}).to_string()).await,
            ("delivery", "nack") => {
                assert_eq!(record["attempt"], 1, "a nack does not count");
                nacked += 1;
                let verdict = match nacked {
                    1 => json!({"nack": token(&record)}),
                    2 => json!({"nack": token(&record), "after_ms": 20}),
                    _ => json!({"ack": token(&record)}),
                };
                talk.say(&verdict.to_string()).await;
            }
            ("delivery", "fail") => talk.say(&json!({"fail": token(&record), "reason": "broke"}).to_string()).await,
            ("delivery", "reject") => talk.say(&json!({"reject": token(&record), "reason": "bad"}).to_string()).await,
            ("settled", _) => assert_eq!(record["result"], "ok"),
            ("report", _) => last = Some(record),
            _ => {}
        }
    }
    let report = last.expect("a report");
    assert_eq!((&report["acked"], &report["dead_lettered"], &report["clean"]), (&json!(2), &json!(2), &json!(true)));
    let (code, heard, _) = talk.finish().await;
    assert_eq!(code, 0);
    let attempts: Vec<_> =
        heard.iter().filter(|record| record["payload"] == "fail").map(|record| record["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 2]);
    let dead = lab.run(&["dead-letter", "list", &stream, "g"], "").await.of("dead_letter");
    let mut reasons: Vec<_> = dead.iter().map(|letter| letter["reason"].as_str().expect("text")).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["bad", "broke"]);
}

#[tokio::test]
async fn settled_and_committed_are_told_and_durable() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 2).await;
    let mut talk = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin"]);
    let first = talk.until("delivery").await;
    talk.say(&json!({"ack": token(&first)}).to_string()).await;
    talk.say(r#"{"commit":true}"#).await;
    let committed = talk.until("committed").await;
    assert!(committed["seconds"].is_f64());
    let settled = talk.heard.iter().find(|record| record["event"] == "settled").expect("told before the commit");
    assert_eq!(settled, &json!({"event": "settled", "token": token(&first), "verdict": "ack", "result": "ok"}));
    // What was committed stays so when the process is killed.
    talk.child.kill().await.expect("killed");
    let status = lab.run(&["group", "status", &stream, "g", "--window", "0s"], "").await.of("group");
    assert_eq!(status[0]["lag"], 1);
}

#[tokio::test]
async fn what_is_not_understood_changes_nothing() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 1).await;
    let mut talk = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin", "--count", "1"]);
    let delivery = talk.until("delivery").await;
    for (line, named) in [
        (r#"{"ack":99}"#, json!(99)),
        ("ack 1", json!(null)),
        (r#"{"ack":1,"nack":1}"#, json!(null)),
        (r#"{"reject":1,"after_ms":3}"#, json!(1)),
    ] {
        talk.say(line).await;
        let error = talk.until("error").await;
        assert_eq!(error["kind"], "unknown_token", "{line}");
        assert_eq!(error.get("token").cloned().unwrap_or_default(), named, "{line}");
        assert!(error["message"].is_string());
    }
    talk.say(&json!({"ack": token(&delivery)}).to_string()).await;
    talk.until("settled").await;
    let (code, heard, _) = talk.finish().await;
    assert_eq!(code, 0);
    assert_eq!(heard.last().expect("a report")["acked"], 1);
}

#[tokio::test]
async fn a_token_is_settled_once() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 2).await;
    let mut talk = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin"]);
    let delivery = talk.until("delivery").await;
    let ack = json!({"ack": token(&delivery)}).to_string();
    talk.say(&ack).await;
    talk.say(&ack).await;
    assert_eq!(talk.until("error").await["token"], delivery["token"]);
}

#[tokio::test]
async fn a_verdict_that_comes_too_late_is_told_and_changes_nothing() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 1).await;
    let mut frozen = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin", "--lease", "500ms"]);
    let delivery = frozen.until("delivery").await;
    frozen.signal(Signal::STOP);
    let mut next = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin", "--lease", "30s"]);
    let again = next.until("delivery").await;
    assert_eq!((&again["payload"], &again["redelivered"]), (&json!("m0"), &json!(true)));
    frozen.signal(Signal::CONT);
    frozen.say(&json!({"ack": token(&delivery)}).to_string()).await;
    let late = frozen.until("settled").await;
    assert_eq!(late, json!({"event": "settled", "token": token(&delivery), "verdict": "ack", "result": "lease_lost"}));
    let status = lab.status_when(&stream, |status| status["in_flight"] == 1).await;
    assert_eq!(status["lag"], 1, "still with the next: {status}");
    next.say(&json!({"ack": token(&again)}).to_string()).await;
    assert_eq!(next.until("settled").await["result"], "ok");
}

#[tokio::test]
async fn the_end_of_stdin_gives_back_what_is_out() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 5).await;
    let mut talk = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin"]);
    let first = talk.until("delivery").await;
    for _ in 0..4 {
        talk.until("delivery").await;
    }
    talk.say(&json!({"ack": token(&first)}).to_string()).await;
    talk.hush();
    let (code, heard, stderr) = talk.finish().await;
    let report = heard.last().expect("a report");
    assert_eq!(code, 0, "{stderr}");
    assert_eq!((&report["acked"], &report["returned"]), (&json!(1), &json!(4)), "{report}");
    // At once with the next member, not after a lease of 30 s.
    let rest = lab.run(&["consume", &stream, "--group", "g", "--count", "4"], "").await;
    assert_eq!(rest.payloads(), ["m1", "m2", "m3", "m4"]);
}

#[tokio::test]
async fn no_more_is_handed_out_than_the_count_can_settle() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 9).await;
    let arguments = ["consume", &stream, "--group", "g", "--settle", "stdin", "--members", "3", "--count", "2"];
    let mut talk = lab.talk(&arguments);
    let (first, second) = (talk.until("delivery").await, talk.until("delivery").await);
    // A look at the group takes longer than a third delivery would.
    lab.run(&["group", "status", &stream, "g", "--window", "300ms"], "").await;
    talk.say(&json!({"nack": token(&first)}).to_string()).await;
    let third = talk.until("delivery").await;
    for delivery in [second, third] {
        talk.say(&json!({"ack": token(&delivery)}).to_string()).await;
    }
    let (code, heard, stderr) = talk.finish().await;
    assert_eq!(code, 0, "{stderr}");
    let report = heard.last().expect("a report");
    assert_eq!((&report["delivered"], &report["acked"]), (&json!(3), &json!(2)), "{report}");
}

#[tokio::test]
async fn verdicts_need_tokens() {
    let lab = Lab::start().await;
    let arguments = ["consume", &lab.stream(), "--group", "g", "--settle", "stdin", "--output", "text"];
    let done = lab.run(&arguments, "").await;
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("token"), "{done:?}");
}

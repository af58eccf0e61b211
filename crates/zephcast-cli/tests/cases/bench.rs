//! `bench` on a broker that others see too.

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::lab::{LIMIT, Lab};

async fn streams(lab: &Lab) -> Vec<Value> {
    lab.run(&["stream", "list"], "").await.of("stream")
}

/// The benches' own streams.
async fn own_streams(lab: &Lab) -> Vec<String> {
    let names = streams(lab).await.into_iter().map(|stream| stream["stream"].as_str().expect("text").to_owned());
    names.filter(|name| name.starts_with("zephcast-bench-")).collect()
}

#[tokio::test]
async fn its_own_stream_is_gone_at_the_end() {
    let lab = Lab::own().await;
    let done = lab.run(&["bench", "--messages", "2000", "--rate", "50", "--output", "text"], "").await;
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    let stream = done.stdout.split_once(' ').expect("a name").0;
    assert!(stream.starts_with("zephcast-bench-") && done.stdout.contains("P99.9"), "{done:?}");
    assert_eq!(own_streams(&lab).await, Vec::<String>::new());
}

#[tokio::test]
async fn its_own_stream_is_gone_after_a_signal_wherever_it_was() {
    let lab = Lab::own().await;
    // While it publishes, and while it measures the latency.
    for (messages, rate) in [("50000000", "1"), ("1", "1000")] {
        let mut talk = lab.talk(&["bench", "--messages", messages, "--rate", rate]);
        let began = Instant::now();
        while !streams(&lab).await.iter().any(|stream| stream["depth"].as_u64() > Some(100)) {
            assert!(began.elapsed() < LIMIT, "it publishes");
        }
        talk.signal(Signal::TERM);
        let (code, heard, stderr) = talk.finish().await;
        assert_eq!((code, heard.len(), stderr.as_str()), (130, 0, ""), "{messages}");
        assert_eq!(own_streams(&lab).await, Vec::<String>::new(), "{messages}");
    }
}

#[tokio::test]
async fn a_stream_that_was_given_keeps_what_it_had_and_others_may_publish_meanwhile() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 10).await;
    let others = async {
        loop {
            lab.publish(&stream, &["of somebody else".to_owned()]).await;
        }
    };
    let bench = ["bench", &stream, "--messages", "1000", "--rate", "100"];
    let done = tokio::select! {
        done = lab.run(&bench, "") => done,
        () = others => unreachable!("it goes on for ever"),
    };
    assert_eq!((done.code, &done.of("bench")[0]["latency_messages"]), (0, &500.into()), "{done:?}");
    assert!(done.stderr.contains("keeps"), "{done:?}");
    let shown = lab.run(&["stream", "show", &stream], "").await.of("stream").remove(0);
    assert_eq!(shown["groups"], json!([]), "its group is gone: {shown}");
    assert!(shown["depth"].as_u64() > Some(1_510), "{shown}");
    let consumed = lab.run(&["consume", &stream, "--group", "g", "--count", "10"], "").await;
    assert_eq!(consumed.payloads()[0], "m0");
}

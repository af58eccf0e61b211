//! `publish`: an outcome for each line, in the contract's words.

use serde_json::json;

use super::lab::Lab;
use crate::broker;

#[tokio::test]
async fn every_line_is_stored_and_told_with_its_position() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let done = lab.run(&["publish", &stream, "--create", "--output", "json"], "a\n\nc").await;
    assert_eq!(done.code, 0, "{done:?}");
    let mut published = done.of("published");
    published.sort_by_key(|record| record["n"].as_u64());
    assert_eq!(published.iter().map(|record| record["n"].clone()).collect::<Vec<_>>(), [0, 1, 2]);
    for record in &published {
        assert_eq!(record["outcome"], "stored");
        broker::check_published(&record["position"]);
        assert!(!record["id"].as_str().expect("text").is_empty());
    }
    let first = done.stdout.lines().next().expect("a line");
    assert!(first.starts_with(r#"{"event":"published","n":0,"id":""#), "{first}");
    let summary = done.records().pop().expect("a summary");
    assert_eq!((&summary["stored"], &summary["failed"], &summary["unknown"]), (&json!(3), &json!(0), &json!(0)));
    assert!(summary["seconds"].is_f64());
    let seen = lab.run(&["consume", &stream, "--group", "g", "--count", "3"], "").await;
    assert_eq!(seen.payloads(), ["a", "", "c"]);
}

#[tokio::test]
async fn the_argument_is_one_message_with_key_headers_and_id() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let arguments =
        ["publish", &stream, "hello", "--key", "k", "--header", "a=1", "--header", "b=x=y", "--id", "i", "--create"];
    lab.ready(&stream).await;
    let done = lab.run(&arguments, "not read\n").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.of("published")[0]["id"], "i");
    let seen = lab.run(&["consume", &stream, "--group", "g", "--count", "1"], "").await;
    let delivery = &seen.of("delivery")[0];
    assert_eq!(delivery["payload"], "hello");
    assert_eq!(delivery["key"], "k");
    assert_eq!(delivery["id"], "i");
    assert_eq!(delivery["headers"], json!({"a": "1", "b": "x=y"}));
}

#[tokio::test]
async fn bad_records_are_named_by_line_and_the_others_still_go() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let input = concat!(
        "{\"payload\":\"one\",\"key_base64\":\"/w==\",\"headers\":{\"h\":{\"base64\":\"/w==\"}}}\n",
        "{\"payload\":\"two\"\n",
        "{\"payload\":\"three\",\"headers\":{\"zephcast-id\":\"forged\"}}\n",
        "\n",
        "{\"payload_base64\":\"/wA=\",\"id\":\"five\"}"
    );
    lab.ready(&stream).await;
    let done = lab.run(&["publish", &stream, "--create", "--jsonl"], input).await;
    assert_eq!(done.code, 3, "{done:?}");
    let of = |n: usize| done.of("published").into_iter().find(|record| record["n"] == n).expect("told");
    for (n, line) in [(1, "line 2"), (2, "line 3"), (3, "line 4")] {
        assert_eq!((&of(n)["outcome"], &of(n)["error"]["kind"]), (&json!("failed"), &json!("invalid_input")));
        assert!(of(n)["error"]["message"].as_str().expect("text").contains(line), "{}", of(n));
    }
    let summary = &done.of("summary")[0];
    assert_eq!((&summary["stored"], &summary["failed"]), (&json!(2), &json!(3)));
    let seen = lab.run(&["consume", &stream, "--group", "g", "--count", "2"], "").await.of("delivery");
    assert_eq!((&seen[0]["payload"], &seen[0]["key_base64"]), (&json!("one"), &json!("/w==")));
    assert_eq!(seen[0]["headers"], json!({"h": {"base64": "/w=="}}));
    assert_eq!((&seen[1]["payload_base64"], &seen[1]["id"]), (&json!("/wA="), &json!("five")));
    assert_eq!(seen[1].get("payload"), None);
}

#[tokio::test]
async fn an_id_is_for_one_message() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let done = lab.run(&["publish", &stream, "--create", "--id", "i"], "a\nb\n").await;
    assert_eq!(done.code, 3, "{done:?}");
    assert_eq!(done.of("summary")[0]["stored"], 1);
}

#[tokio::test]
async fn text_tells_people_on_stderr_and_nothing_when_quiet() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let told = lab.run(&["publish", &stream, "x", "--create", "--output", "text"], "").await;
    assert_eq!((told.code, told.stdout.as_str()), (0, ""));
    assert!(told.stderr.contains("stored 1"), "{told:?}");
    let quiet = lab.run(&["--quiet", "publish", &stream, "x", "--output", "text"], "").await;
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
}

#[tokio::test]
async fn the_rate_is_kept() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let began = tokio::time::Instant::now();
    let done = lab.run(&["publish", &stream, "--create", "--rate", "10"], "a\nb\nc\nd\ne\nf\n").await;
    assert_eq!((done.code, &done.of("summary")[0]["stored"]), (0, &json!(6)));
    assert!(began.elapsed().as_millis() >= 500, "the sixth comes half a second after the first");
}

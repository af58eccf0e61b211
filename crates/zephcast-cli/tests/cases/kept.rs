//! What a stream keeps before there is a group.

use super::lab::{Lab, payloads};

#[tokio::test]
async fn a_new_group_starts_where_it_is_told() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 3).await;
    let whole = lab.run(&["consume", &stream, "--group", "earliest", "--count", "3"], "").await.of("delivery");
    let at = whole[1]["position"].as_str().expect("text");
    let from = lab.run(&["consume", &stream, "--group", "at", "--from", at, "--idle-exit", "300ms"], "").await;
    assert_eq!(from.payloads(), ["m1", "m2"]);
    let since = ["consume", &stream, "--group", "since", "--from", "2020-01-01T00:00:00Z", "--idle-exit", "300ms"];
    assert_eq!(lab.run(&since, "").await.payloads(), ["m0", "m1", "m2"]);
    let mut latest = lab.talk(&["consume", &stream, "--group", "latest", "--from", "latest", "--count", "1"]);
    latest.until("joined").await;
    lab.run(&["publish", &stream, "new"], "").await;
    let (code, heard, _) = latest.finish().await;
    assert_eq!((code, payloads(&heard)), (0, vec!["new".to_owned()]));
}

#[tokio::test]
async fn a_publish_to_a_stream_that_is_not_there_needs_create() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    let refused = lab.run(&["publish", &stream, "x"], "").await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&stream) && refused.stderr.contains("--create"), "{refused:?}");
    assert_eq!(lab.run(&["stream", "show", &stream], "").await.code, 1, "nothing was made");
    assert_eq!(lab.run(&["publish", &stream, "x", "--create"], "").await.code, 0);
    assert_eq!(lab.run(&["publish", &stream, "x"], "").await.code, 0);
}

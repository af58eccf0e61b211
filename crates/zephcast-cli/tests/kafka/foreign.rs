//! Programs that know nothing of this one, and what Kafka refuses.

use integration_tests::kafka_server::KafkaOptions;
use serde_json::json;

use crate::broker;
use crate::cases::lab::{Lab, command, run};

#[tokio::test]
async fn kcat_reads_what_is_published_and_its_records_are_consumed_as_they_are() {
    let server = broker::start_with(KafkaOptions::default()).await;
    let lab = Lab::of(server);
    let stream = lab.stream();
    let kafka = &lab.server.as_ref().expect("its own").0;
    let arguments = ["publish", &stream, "ours", "--key", "k", "--header", "h=v", "--id", "i", "--create"];
    assert_eq!(lab.run(&arguments, "").await.code, 0);
    let read = kafka.kcat(&["-C", "-t", &stream, "-e", "-q", "-f", "%k|%s|%h"]).await.expect("kcat reads");
    assert_eq!(read, "k|ours|h=v,zephcast-id=i");

    let file = kafka.directory().join("theirs");
    std::fs::write(&file, "theirs").expect("a file");
    let file = file.display().to_string();
    let produce = ["-P", "-t", &stream, "-k", "kk", "-H", "x=y", "-H", "x=z", "-H", "nul", &file];
    kafka.kcat(&produce).await.expect("kcat produces");
    let seen = lab.run(&["consume", &stream, "--group", "g", "--count", "2"], "").await.of("delivery");
    assert_eq!((&seen[1]["payload"], &seen[1]["key"], &seen[1]["id"]), (&json!("theirs"), &json!("kk"), &json!(null)));
    assert_eq!(seen[1]["headers"], json!({"x": ["y", "z"], "nul": null}));
}

#[tokio::test]
async fn what_a_topic_does_not_take_is_told() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let create = ["stream", "create", &stream, "--set", "max.message.bytes=10000"];
    assert_eq!(lab.run(&create, "").await.code, 0);
    let done = lab.run(&["publish", &stream], "x".repeat(20_000)).await;
    assert_eq!(done.code, 3, "{done:?}");
    let large = &done.of("published")[0];
    assert_eq!((&large["outcome"], &large["error"]["kind"]), (&json!("failed"), &json!("too_large")), "{large}");

    for (setting, part) in [("replication=9", "replication"), ("no.such.setting=1", "no.such.setting")] {
        let refused = lab.run(&["stream", "create", &lab.stream(), "--set", setting], "").await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    let other = lab.run(&["stream", "create", &stream, "--partitions", "4"], "").await;
    assert_eq!(other.code, 1, "{other:?}");
    assert!(other.stderr.contains("partitions 1, not 4"), "{other:?}");
}

#[tokio::test]
async fn one_server_that_answers_is_enough() {
    let lab = Lab::start().await;
    let url = lab.url.replace("kafka://", "kafka://127.0.0.1:1,no-such-host.invalid,");
    let done = run(command(&url, &["stream", "list"]), b"").await;
    assert_eq!(done.code, 0, "{done:?}");
}

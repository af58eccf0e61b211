//! `--exec`: the exit status is the verdict.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::lab::Lab;

#[tokio::test]
async fn the_payload_is_on_stdin_and_the_rest_in_the_environment_but_not_the_url() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let publish = [
        "publish",
        &stream,
        "pay\nload",
        "--key",
        "k 1",
        "--id",
        "i",
        "--header",
        "trace-parent=t",
        "--header",
        "h=v",
        "--create",
    ];
    lab.ready(&stream).await;
    lab.run(&publish, "").await;
    let script = "cat; env | grep ^ZEPHCAST_ | sort";
    let arguments =
        ["consume", &stream, "--group", "g", "--member", "me", "--exec", script, "--count", "1", "--output", "text"];
    let done = lab.run(&arguments, "").await;
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<_> = done.stdout.lines().collect();
    let (payload, environment) = done.stdout.split_at("pay\nload".len());
    assert_eq!(payload, "pay\nload");
    for expected in [
        format!("ZEPHCAST_STREAM={stream}"),
        "ZEPHCAST_GROUP=g".into(),
        "ZEPHCAST_MEMBER=me".into(),
        "ZEPHCAST_KEY=k 1".into(),
        "ZEPHCAST_ID=i".into(),
        "ZEPHCAST_ATTEMPT=1".into(),
        "ZEPHCAST_HEADER_TRACE_PARENT=t".into(),
        "ZEPHCAST_HEADER_H=v".into(),
    ] {
        assert!(environment.lines().any(|line| line == expected), "{expected} in {lines:?}");
    }
    assert!(environment.contains("\nZEPHCAST_POSITION=") && environment.contains("\nZEPHCAST_PUBLISHED_MS="));
    assert!(!environment.contains("ZEPHCAST_URL"), "{environment}");
}

#[tokio::test]
async fn exit_65_rejects_and_other_failures_are_retried_then_given_up_with_their_last_words() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.publish(&stream, &["good", "bad", "reject"].map(str::to_owned)).await;
    let script =
        "case $(cat) in good) ;; bad) echo \"try $ZEPHCAST_ATTEMPT\" >&2; exit 7;; *) echo no >&2; exit 65;; esac";
    let arguments = [
        "consume",
        &stream,
        "--group",
        "g",
        "--exec",
        script,
        "--max-attempts",
        "3",
        "--retry-delay",
        "10ms",
        "--count",
        "3",
    ];
    let done = lab.run(&arguments, "").await;
    assert_eq!(done.code, 0, "{done:?}");
    let report = &done.of("report")[0];
    assert_eq!((&report["acked"], &report["dead_lettered"]), (&json!(1), &json!(2)), "{report}");
    let attempts: Vec<_> = done
        .of("delivery")
        .into_iter()
        .filter(|record| record["payload"] == "bad")
        .map(|r| r["attempt"].clone())
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    let dead = lab.run(&["dead-letter", "list", &stream, "g"], "").await.of("dead_letter");
    let of = |payload: &str| dead.iter().find(|letter| letter["payload"] == payload).expect("dead");
    assert_eq!((&of("bad")["reason"], &of("bad")["attempts"]), (&json!("exit status 7: try 3"), &json!(3)));
    assert_eq!((&of("reject")["reason"], &of("reject")["attempts"]), (&json!("exit status 65: no"), &json!(1)));
}

#[tokio::test]
async fn commands_run_side_by_side_and_the_count_holds() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 12).await;
    let arguments = ["consume", &stream, "--group", "g", "--exec", "sleep 1", "--concurrency", "8", "--count", "8"];
    let began = Instant::now();
    let done = lab.run(&arguments, "").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(began.elapsed() < Duration::from_secs(7), "eight at a time: {:?}", began.elapsed());
    assert_eq!((done.payloads().len(), &done.of("report")[0]["acked"]), (8, &json!(8)));
    let status = lab.run(&["group", "status", &stream, "g", "--window", "0s"], "").await.of("group");
    assert_eq!(status[0]["lag"], 4);
}

#[tokio::test]
async fn a_count_smaller_than_what_is_retried_ends_all_the_same() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 6).await;
    // Every message fails at first, so none may keep the room of another for ever.
    let script = "[ $ZEPHCAST_ATTEMPT -gt 1 ]";
    let arguments = [
        "consume",
        &stream,
        "--group",
        "g",
        "--exec",
        script,
        "--concurrency",
        "3",
        "--count",
        "2",
        "--retry-delay",
        "20ms",
    ];
    let done = lab.run(&arguments, "").await;
    assert_eq!((done.code, &done.of("report")[0]["acked"]), (0, &json!(2)), "{done:?}");
}

#[tokio::test]
async fn messages_of_a_key_keep_their_order_through_retries() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let records: Vec<_> =
        (0..20).map(|n| json!({"payload": format!("{n}"), "key": format!("k{}", n % 2)}).to_string()).collect();
    lab.ready(&stream).await;
    lab.run(&["publish", &stream, "--create", "--jsonl"], records.join("\n")).await;
    let script = "read n; [ $ZEPHCAST_ATTEMPT -gt 1 ] || [ $((n % 3)) -ne 0 ] || exit 1; echo $ZEPHCAST_KEY $n";
    let arguments = [
        "consume",
        &stream,
        "--group",
        "g",
        "--exec",
        script,
        "--ordered-by-key",
        "--concurrency",
        "4",
        "--count",
        "20",
        "--retry-delay",
        "20ms",
        "--output",
        "text",
    ];
    let done = lab.run(&arguments, "").await;
    assert_eq!(done.code, 0, "{done:?}");
    for key in ["k0", "k1"] {
        let order: Vec<u32> =
            done.stdout.lines().filter_map(|line| line.strip_prefix(key)?.trim().parse().ok()).collect();
        assert_eq!(order.len(), 10);
        assert!(order.is_sorted(), "{key}: {order:?}");
    }
}

#[tokio::test]
async fn a_command_that_reads_nothing_or_leaves_something_running_is_no_trouble() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    lab.run(&["publish", &stream, "--create"], "x".repeat(900_000)).await;
    let began = Instant::now();
    let done = lab
        .run(&["consume", &stream, "--group", "g", "--exec", "sleep 30 >/dev/null & exit 0", "--count", "1"], "")
        .await;
    assert_eq!(done.code, 0);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn members_are_named_alike_with_a_command_and_without() {
    let lab = Lab::start_wide().await;
    let stream = lab.stream();
    let consume =
        ["consume", &stream, "--group", "g", "--create", "--member", "m", "--members", "2", "--idle-exit", "5s"];
    for arguments in [&consume[..], &[&consume[..], &["--exec", "true"]].concat()] {
        let done = lab.run(arguments, "").await;
        let mut names: Vec<_> = done.of("joined").iter().map(|joined| joined["member"].clone()).collect();
        names.sort_by_key(ToString::to_string);
        assert_eq!((done.code, names), (0, vec![json!("m-1"), json!("m-2")]), "{arguments:?}");
    }
}

//! `dead-letter`.

use serde_json::json;

use super::lab::Lab;

/// Rejects everything there is.
pub(super) async fn reject_all(lab: &Lab, stream: &str, count: usize) {
    let count = count.to_string();
    let script = "echo reason-$(cat) >&2; exit 65";
    let done = lab.run(&["consume", stream, "--group", "g", "--exec", script, "--count", &count], "").await;
    assert_eq!(done.code, 0, "{done:?}");
}

#[tokio::test]
async fn dead_letters_are_listed_redriven_and_purged() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let records: Vec<_> =
        ["a", "b", "c", "d"].map(|id| json!({"payload": id, "id": id, "headers": {"h": "v"}}).to_string()).into();
    lab.ready(&stream).await;
    lab.run(&["publish", &stream, "--create", "--jsonl"], records.join("\n")).await;
    reject_all(&lab, &stream, 4).await;
    let list = lab.run(&["dead-letter", "list", &stream, "g"], "").await.of("dead_letter");
    assert_eq!(list.len(), 4);
    assert_eq!(
        (&list[0]["id"], &list[0]["reason"], &list[0]["attempts"]),
        (&json!("a"), &json!("exit status 65: reason-a"), &json!(1))
    );
    assert_eq!(
        (&list[0]["payload"], &list[0]["headers"], &list[0]["key"]),
        (&json!("a"), &json!({"h": "v"}), &json!(null))
    );
    assert!(list[0]["origin"].as_str().expect("text").starts_with(&format!("{stream}@")), "{}", list[0]);
    assert!(list[0]["first_failed_ms"].is_u64() && list[0]["last_failed_ms"].is_u64(), "{}", list[0]);
    let limited = lab.run(&["dead-letter", "list", &stream, "g", "--limit", "2"], "").await;
    assert_eq!(limited.of("dead_letter").len(), 2);

    let by_id = lab.run(&["dead-letter", "redrive", &stream, "g", "--id", "b"], "").await;
    assert_eq!((by_id.code, by_id.stdout.as_str()), (0, "{\"event\":\"redriven\",\"count\":1}\n"));
    let by_reason = lab.run(&["dead-letter", "redrive", &stream, "g", "--filter-reason", "reason-c"], "").await;
    assert_eq!(by_reason.of("redriven")[0]["count"], 1);
    let again = lab.run(&["consume", &stream, "--group", "g", "--count", "2"], "").await.of("delivery");
    let mut ids: Vec<_> = again.iter().map(|delivery| delivery["id"].as_str().expect("text")).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["b", "c"]);
    assert!(
        again.iter().all(|delivery| delivery["attempt"] == 1 && delivery["headers"] == json!({"h": "v"})),
        "{again:?}"
    );

    let missing = lab.run(&["dead-letter", "redrive", &stream, "g", "--id", "nobody"], "").await;
    assert_eq!((missing.code, &missing.of("redriven")[0]["count"]), (1, &json!(0)));
    assert!(missing.stderr.contains("nobody"), "{missing:?}");
    assert_eq!(lab.run(&["dead-letter", "purge", &stream, "g"], "").await.code, 2);
    let purged = lab.run(&["dead-letter", "purge", &stream, "g", "--yes"], "").await;
    assert_eq!((purged.code, purged.stdout.as_str()), (0, "{\"event\":\"purged\",\"count\":2}\n"));
    assert_eq!(lab.run(&["dead-letter", "list", &stream, "g"], "").await.stdout, "");
}

#[tokio::test]
async fn what_is_redriven_goes_to_its_own_group_only() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready_for(&stream, "other").await;
    lab.fill(&stream, 2).await;
    lab.run(&["consume", &stream, "--group", "other", "--count", "2"], "").await;
    reject_all(&lab, &stream, 2).await;
    let redriven = lab.run(&["dead-letter", "redrive", &stream, "g", "--limit", "1"], "").await;
    assert_eq!(redriven.of("redriven")[0]["count"], 1);
    let other = lab.run(&["consume", &stream, "--group", "other", "--idle-exit", "500ms"], "").await;
    assert_eq!(other.payloads(), Vec::<String>::new());
    let own = lab.run(&["consume", &stream, "--group", "g", "--count", "1"], "").await;
    assert_eq!(own.payloads(), ["m0"]);
}

#[tokio::test]
async fn many_are_redriven_once_each_up_to_a_limit() {
    // More than are read at a time.
    const COUNT: usize = 130;
    let lab = Lab::start().await;
    let stream = lab.stream();
    let lines = lab.fill(&stream, COUNT).await;
    let reject = ["consume", &stream, "--group", "g", "--exec", "exit 65", "--count", "130", "--concurrency", "8"];
    let rejected = lab.run(&reject, "").await;
    assert_eq!(rejected.code, 0, "{rejected:?}");
    let redrive = ["dead-letter", "redrive", &stream, "g"];
    let limited = lab.run(&[&redrive[..], &["--limit", "20"]].concat(), "").await;
    assert_eq!((limited.code, limited.stdout.as_str()), (0, "{\"event\":\"redriven\",\"count\":20}\n"));
    let all = lab.run(&redrive, "").await;
    assert_eq!((all.code, all.stdout.as_str()), (0, "{\"event\":\"redriven\",\"count\":110}\n"));
    assert_eq!(lab.run(&["dead-letter", "list", &stream, "g"], "").await.of("dead_letter").len(), 0);
    let mut again = lab.run(&["consume", &stream, "--group", "g", "--count", "130"], "").await.payloads();
    again.sort();
    let mut lines = lines;
    lines.sort();
    assert_eq!(again, lines);
    assert_eq!(lab.status_when(&stream, |status| status["in_flight"] == 0).await["lag"], 0, "none came twice");
}

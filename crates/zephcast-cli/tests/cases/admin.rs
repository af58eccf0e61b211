//! `group`, `stream`, `dead-letter` and `check`.

use serde_json::json;

use super::dead_letters::reject_all;
use super::lab::Lab;
use crate::broker::{self, NAME};

#[tokio::test]
async fn a_groups_status_has_every_figure() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 5).await;
    lab.run(&["consume", &stream, "--group", "g", "--count", "2"], "").await;
    let mut talk =
        lab.talk(&["consume", &stream, "--group", "g", "--member", "me", "--settle", "stdin", "--prefetch", "1"]);
    talk.until("delivery").await;
    lab.status_when(&stream, |status| status["in_flight"] == 1).await;
    let done = lab.run(&["group", "status", &stream, "g", "--window", "0s"], "").await;
    assert_eq!(done.code, 0, "{done:?}");
    let status = &done.of("group")[0];
    assert_eq!(
        (&status["lag"], &status["in_flight"], &status["delayed"]),
        (&json!(3), &json!(1), &json!(0)),
        "{status}"
    );
    assert_eq!((&status["dead_letters"], &status["broker"]), (&json!(0), &json!(NAME)));
    assert!(status["oldest_pending_ms"].is_u64(), "{status}");
    let me = status["members"].as_array().expect("members").iter().find(|member| member["name"] == "me").expect("me");
    assert_eq!((&me["state"], &me["in_flight"], &me["units"]), (&json!("active"), &json!(1), &json!(["0"])));
    assert_eq!(me["idle_ms"].is_u64(), broker::TELLS_IDLE, "{me}");
    assert_eq!((&me["prefetch"], &status["warnings"]), (&json!(null), &json!([])), "{status}");
    assert_eq!((&status["units"][0]["unit"], &status["units"][0]["lag"]), (&json!("0"), &json!(3)));
    assert!(done.stdout.starts_with(&format!(
        r#"{{"event":"group","stream":"{stream}","group":"g","broker":"{NAME}","state":"ok","evidence":""#
    )));
    let text = lab.run(&["group", "status", &stream, "g", "--window", "0s", "--output", "text"], "").await;
    assert!(text.stdout.contains("lag 3, in flight 1") && text.stdout.contains("MEMBER"), "{text:?}");
}

#[tokio::test]
async fn groups_are_listed_and_missing_ones_named() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.run(&["stream", "create", &stream, "--group", "a", "--group", "b"], "").await;
    let list = lab.run(&["group", "list", &stream, "--window", "0s"], "").await;
    let mut names: Vec<_> = list.of("group").iter().map(|group| group["group"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!((list.code, names), (0, vec![json!("a"), json!("b")]));
    for arguments in [["group", "status", &stream, "missing-group"], ["group", "status", "missing-stream", "g"]] {
        let missing = lab.run(&arguments, "").await;
        assert_eq!(missing.code, 1, "{missing:?}");
        assert!(missing.stderr.contains("missing-"), "{missing:?}");
    }
}

#[tokio::test]
async fn a_group_is_moved_and_reads_from_there_on() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let lines = lab.fill(&stream, 4).await;
    let all = lab.run(&["consume", &stream, "--group", "g", "--count", "4"], "").await;
    let deliveries = all.of("delivery");
    let third = deliveries[2]["position"].as_str().expect("text");
    for (to, expected) in [("earliest", &lines[..]), (third, &lines[2..]), ("1970-01-01T00:00:00Z", &lines[..])] {
        let moved = lab.run(&["group", "seek", &stream, "g", "--to", to], "").await;
        let line = format!(r#"{{"event":"seek","stream":"{stream}","group":"g","to":"{to}"}}"#);
        assert_eq!((moved.code, moved.stdout.trim_end()), (0, line.as_str()), "{moved:?}");
        let count = expected.len().to_string();
        let again = lab.run(&["consume", &stream, "--group", "g", "--count", &count], "").await;
        assert_eq!(again.payloads(), expected, "{to}");
    }
    let text = lab.run(&["group", "seek", &stream, "g", "--to", "earliest", "--output", "text"], "").await;
    assert_eq!(text.stdout, format!("moved g on {stream} to earliest\n"));
    lab.run(&["group", "seek", &stream, "g", "--to", "latest"], "").await;
    assert_eq!(lab.status_when(&stream, |_| true).await["lag"], 0);
    let bad = lab.run(&["group", "seek", &stream, "g", "--to", "tomorrow"], "").await;
    assert_eq!(bad.code, 2);
    assert!(bad.stderr.contains("--to \"tomorrow\""), "{bad:?}");
}

#[tokio::test]
async fn a_group_is_deleted_on_request_only() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 2).await;
    reject_all(&lab, &stream, 2).await;
    lab.run(&["consume", &stream, "--group", "other", "--count", "1"], "").await;
    let unsure = lab.run(&["group", "delete", &stream, "g"], "").await;
    assert_eq!(unsure.code, 2);
    assert!(unsure.stderr.contains("--yes"), "{unsure:?}");
    let deleted = lab.run(&["group", "delete", &stream, "g", "--yes"], "").await;
    let line = format!(r#"{{"event":"deleted","stream":"{stream}","group":"g"}}"#);
    assert_eq!((deleted.code, deleted.stdout.trim_end()), (0, line.as_str()), "{deleted:?}");
    let shown = lab.run(&["stream", "show", &stream], "").await;
    assert_eq!(shown.of("stream")[0]["groups"], json!(["other"]));
    let anew = lab.run(&["consume", &stream, "--group", "g", "--count", "2"], "").await;
    assert_eq!(anew.payloads(), ["m0", "m1"]);
    assert_eq!(lab.run(&["dead-letter", "list", &stream, "g"], "").await.stdout, "");
}

#[tokio::test]
async fn a_group_in_use_or_unknown_is_neither_moved_nor_deleted() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 2).await;
    let mut member = lab.talk(&["consume", &stream, "--group", "g", "--member", "me", "--settle", "stdin"]);
    member.until("delivery").await;
    // Where groups are by stream, Kafka puts its name before the group's.
    for (command, names) in [
        (["group", "seek", &stream, "g", "--to", "latest"], "\"me\""),
        (["group", "delete", &stream, "g", "--yes", "--quiet"], "\"me\""),
        (["group", "seek", &stream, "gg", "--to", "latest"], "gg\""),
        (["group", "delete", &stream, "gg", "--yes", "--quiet"], "gg\""),
    ] {
        let refused = lab.run(&command, "").await;
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
        assert!(refused.stderr.contains(names), "{names}: {refused:?}");
    }
    let shown = lab.run(&["stream", "show", &stream], "").await;
    assert_eq!(shown.of("stream")[0]["groups"], json!(["g"]));
    assert_eq!(lab.status_when(&stream, |_| true).await["lag"], 2);
}

#[tokio::test]
async fn streams_are_created_shown_listed_and_deleted() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let created = lab.run(&["stream", "create", &stream, "--group", "billing"], "").await;
    assert_eq!(created.code, 0, "{created:?}");
    let again = lab.run(&["stream", "create", &stream, "--group", "billing"], "").await;
    assert_eq!(again.code, 0, "one that exists alike is fine: {again:?}");
    lab.fill(&stream, 3).await;
    let shown = lab.run(&["stream", "show", &stream], "").await;
    assert_eq!(
        shown.stdout.trim_end(),
        format!(
            r#"{{"event":"stream","stream":"{stream}","broker":"{NAME}","depth":3,"units":["0"],"groups":["billing"]}}"#
        )
    );
    let listed = lab.run(&["stream", "list"], "").await.of("stream");
    assert!(listed.iter().any(|listed| listed["stream"] == stream.as_str()), "{listed:?}");
    let unsure = lab.run(&["stream", "delete", &stream], "").await;
    assert_eq!(unsure.code, 2);
    assert!(unsure.stderr.contains("--yes"), "{unsure:?}");
    let deleted = lab.run(&["stream", "delete", &stream, "--yes"], "").await;
    let line = format!(r#"{{"event":"deleted","stream":"{stream}"}}"#);
    assert_eq!((deleted.code, deleted.stdout.trim_end()), (0, line.as_str()), "{deleted:?}");
    let gone = lab.run(&["stream", "show", &stream], "").await;
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains(&stream), "{gone:?}");
}

#[tokio::test]
async fn check_names_version_capabilities_and_risks() {
    let lab = Lab::start().await;
    let done = lab.run(&["check"], "").await;
    assert_eq!(done.code, 0, "{done:?}");
    let check = &done.of("check")[0];
    assert_eq!(check["broker"], NAME);
    assert_eq!(check["version"].as_str().expect("text").contains('.'), broker::TELLS_VERSION, "{check}");
    assert_eq!(check["capabilities"]["partitions"], broker::HAS_PARTITIONS);
    for warning in check["warnings"].as_array().expect("warnings") {
        assert!(["kind", "message", "advice"].iter().all(|key| warning[key].is_string()), "{warning}");
    }
    let begin = format!(r#"{{"event":"check","broker":"{NAME}","version":""#);
    assert!(done.stdout.starts_with(&begin), "{done:?}");
}

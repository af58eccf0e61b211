//! What RabbitMQ refuses, and what is refused for it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::cases::lab::{CANARY, Lab, command, run};

#[tokio::test]
async fn a_publish_that_no_group_takes_fails_for_certain() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    for output in ["json", "text"] {
        let publish = ["publish", &stream, "x", "--id", "the-id", "--create", "--output", output];
        let done = lab.run(&publish, "").await;
        assert_eq!(done.code, 3, "{done:?}");
        if output == "text" {
            assert!(done.stderr.contains("no group") && done.stderr.contains(&stream), "{done:?}");
            continue;
        }
        let told = &done.of("published")[0];
        assert_eq!((&told["id"], &told["outcome"]), (&json!("the-id"), &json!("failed")), "{told}");
        assert_eq!(told["error"]["kind"], "unroutable", "{told}");
        assert_eq!(done.of("summary")[0]["failed"], 1, "{done:?}");
    }
}

#[tokio::test]
async fn what_a_queue_does_not_keep_is_refused() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let consume = ["consume", &stream, "--group", "new", "--idle-exit", "1s"];
    for (arguments, part) in [
        (&[&consume[..], &["--from", "latest"]].concat()[..], "start"),
        (&[&consume[..], &["--from", "2020-01-01T00:00:00Z"]].concat(), "start"),
        (&[&consume[..], &["--settle", "none"]].concat(), "without taking"),
        (&["group", "seek", &stream, "g", "--to", "earliest"], "no way back"),
        (&["stream", "create", &stream, "--partitions", "2"], "partition"),
    ] {
        let done = lab.run(arguments, "").await;
        assert_eq!((done.code, done.of("joined").len()), (2, 0), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(part), "{arguments:?}: {done:?}");
    }
    let shown = lab.run(&["stream", "show", &stream], "").await.of("stream").remove(0);
    assert_eq!(shown["groups"], json!(["g"]), "none was made: {shown}");
}

#[tokio::test]
async fn wrong_credentials_and_unknown_hosts_fail_at_once_without_the_secret() {
    let lab = Lab::start().await;
    let (_, rest) = lab.url.split_once('@').expect("a user");
    let (host, _) = rest.split_once('/').expect("a vhost");
    let (user, _) = lab.url.split_once('@').expect("a user");
    for (url, part) in [
        (format!("amqp://guest:{CANARY}@{rest}"), "refused"),
        (format!("amqp://{CANARY}:{CANARY}@{rest}"), "refused"),
        (format!("{user}@{host}/no-such-vhost"), "no-such-vhost"),
    ] {
        for arguments in [&["check"][..], &["-vvv", "consume", "s", "--group", "g"], &["publish", "s", "x"]] {
            let began = Instant::now();
            let done = run(command(&url, arguments), b"").await;
            assert_eq!(done.code, 1, "{done:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "at once, not after the connect timeout");
            assert!(done.stderr.contains(part), "{done:?}");
            assert!(!format!("{done:?}").contains(CANARY), "{done:?}");
            assert!(!done.stderr.contains("stream list"), "that is no help: {done:?}");
            assert_eq!(part == "no-such-vhost", done.stderr.contains("add_vhost"), "{done:?}");
        }
    }
}

#[tokio::test]
async fn where_no_management_answers_it_is_said_what_to_do() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let (bare, _) = lab.url.split_once('?').expect("a query");
    let (_, amqp) = bare.split_once('@').expect("a user");
    let (amqp, _) = amqp.split_once('/').expect("a vhost");
    for place in [amqp, "127.0.0.1:1"] {
        let url = format!("{bare}?management=http://{place}");
        let done = run(command(&url, &["stream", "list"]), b"").await;
        assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{done:?}");
        let parts = [place, "rabbitmq_management", "`management=http://HOST:15672`", "AMQP"];
        assert!(parts.iter().all(|part| done.stderr.contains(part)), "{done:?}");
        assert!(!done.stderr.contains("see that the broker runs"), "{done:?}");
        let checked = run(command(&url, &["check"]), b"").await;
        let warnings = checked.of("check")[0]["warnings"].to_string();
        assert!(parts.iter().all(|part| warnings.contains(part)), "{warnings}");
        let status = ["group", "status", &stream, "g", "--window", "0s"];
        let looked = run(command(&url, &status), b"").await;
        let group = &looked.of("group")[0];
        assert_eq!(
            (looked.code, &group["lag"], &group["warnings"][0]["kind"]),
            (0, &json!(0), &json!("no_management"))
        );
        assert!(parts.iter().all(|part| group["warnings"].to_string().contains(part)), "{group}");
        let text = run(command(&url, &[&status[..], &["--output", "text"]].concat()), b"").await;
        assert!(
            text.stdout.contains("\n  warning (no_management): ") && text.stdout.contains("\n    try: "),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn what_a_url_cannot_say_is_a_usage_error() {
    let lab = Lab::start().await;
    for (more, part) in [("speed=high", "speed"), ("queue-type=magic", "queue-type"), ("heartbeat=0", "heartbeat")] {
        let url = match lab.url.contains('?') {
            true => format!("{}&{more}", lab.url),
            false => format!("{}?{more}", lab.url),
        };
        let done = run(command(&url, &["check"]), b"").await;
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains(part), "{done:?}");
    }
}

#[tokio::test]
async fn check_names_the_version_and_what_is_risky_and_no_secret() {
    let lab = Lab::own().await;
    let server = lab.server.as_ref().expect("its own");
    server.ctl(&["add_user", "app", CANARY]).await.expect("a user");
    server.ctl(&["set_permissions", "app", "", ".*", ".*"]).await.expect("rights, but for making queues");
    server.ctl(&["set_user_tags", "app", "administrator"]).await.expect("a tag");
    let url = lab.url.replace("guest:guest@", &format!("app:{CANARY}@"));
    let done = run(command(&url, &["check"]), b"").await;
    assert_eq!(done.code, 0, "{done:?}");
    let check = &done.of("check")[0];
    assert_eq!((&check["broker"], &check["capabilities"]["browse"]), (&json!("rabbitmq"), &json!(false)), "{check}");
    assert!(check["version"].as_str().expect("text").split('.').count() > 2, "{check}");
    let warning = &check["warnings"][0];
    assert_eq!(warning["kind"], "permission", "{check}");
    assert!(warning["message"].as_str().expect("text").contains("configure"), "{check}");
    assert!(!format!("{done:?}").contains(CANARY), "{done:?}");

    // Without the management API no figure of it is made up.
    let bare = lab.url.split_once('?').expect("a query").0;
    let alone = run(command(&format!("{bare}?management=http://127.0.0.1:1"), &["check"]), b"").await;
    assert_eq!(alone.code, 0, "{alone:?}");
    let check = &alone.of("check")[0];
    assert!(check["warnings"].to_string().contains("no_management"), "{check}");
    assert_eq!(run(command(&format!("{bare}?management=http://127.0.0.1:1"), &["stream", "list"]), b"").await.code, 1);
}

//! Streams and the queues of their groups.

use serde_json::json;

use crate::cases::lab::{Lab, command, run};

#[tokio::test]
async fn streams_are_created_shown_listed_and_deleted() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let create = ["stream", "create", &stream, "--group", "a", "--group", "b.c"];
    for _ in ["new", "alike"] {
        let created = lab.run(&create, "").await;
        assert_eq!(created.code, 0, "{created:?}");
    }
    let shown = lab.run(&["stream", "show", &stream], "").await;
    assert_eq!(
        shown.stdout.trim_end(),
        format!(
            r#"{{"event":"stream","stream":"{stream}","broker":"rabbitmq","depth":null,"units":["0"],"groups":["a","b.c"]}}"#
        )
    );
    let listed = lab.run(&["stream", "list"], "").await.of("stream");
    assert!(listed.iter().any(|listed| listed["stream"] == stream.as_str()), "{listed:?}");
    let groups = lab.run(&["group", "list", &stream, "--window", "0s"], "").await.of("group");
    let names: Vec<_> = groups.iter().map(|group| group["group"].as_str().expect("text")).collect();
    assert_eq!(names, ["a", "b.c"]);

    // A group that was made has what comes from then on.
    assert_eq!(lab.run(&["publish", &stream], "one\ntwo\n").await.code, 0);
    for group in ["a", "b.c"] {
        let consumed = lab.run(&["consume", &stream, "--group", group, "--count", "2"], "").await;
        assert_eq!((consumed.code, consumed.payloads()), (0, vec!["one".to_owned(), "two".to_owned()]));
    }

    let unsure = lab.run(&["stream", "delete", &stream], "").await;
    assert_eq!(unsure.code, 2);
    assert!(unsure.stderr.contains("--yes"), "{unsure:?}");
    assert_eq!(lab.run(&["stream", "delete", &stream, "--yes"], "").await.code, 0);
    for command in ["show", "delete"] {
        let gone = lab.run(&["stream", command, &stream, "--yes"][..if command == "show" { 3 } else { 4 }], "").await;
        assert_eq!(gone.code, 1, "{gone:?}");
        assert!(gone.stderr.contains(&stream), "{gone:?}");
    }
}

#[tokio::test]
async fn without_the_management_streams_are_made_and_shown_and_deleted_where_nothing_is_lost() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    // Nobody listens there.
    let url = format!("{}?management=http://127.0.0.1:1", lab.url.split('?').next().expect("a URL"));
    let alone = async |arguments: &[&str]| run(command(&url, arguments), b"").await;
    let all_that_is_known = format!(
        r#"{{"event":"stream","stream":"{stream}","broker":"rabbitmq","depth":null,"units":["0"],"groups":null}}"#
    );
    for arguments in [&["stream", "create", &stream][..], &["stream", "show", &stream]] {
        let done = alone(arguments).await;
        assert_eq!((done.code, done.stdout.trim_end(), done.stderr.as_str()), (0, all_that_is_known.as_str(), ""));
    }
    assert_eq!(alone(&["stream", "delete", &stream, "--yes"]).await.code, 0, "it has no group");
    assert_eq!(lab.run(&["stream", "show", &stream], "").await.code, 1);

    let text = ["stream", "create", &stream, "--group", "g", "--output", "text"];
    let made = alone(&text).await;
    assert_eq!((made.code, made.stdout.trim_end()), (0, format!("{stream}  depth ?, units 1, groups ?").as_str()));
    assert_eq!(alone(&["publish", &stream, "kept"]).await.code, 0);
    let listed = alone(&["group", "list", &stream, "--window", "0s"]).await;
    assert_eq!((listed.code, listed.stdout.as_str()), (1, ""), "not that it has none: {listed:?}");
    assert!(listed.stderr.contains("zephcast check"), "{listed:?}");

    let refused = alone(&["stream", "delete", &stream, "--yes"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
    let parts = [stream.as_str(), "nothing was deleted", "management=", "each group first", "127.0.0.1:1"];
    assert!(parts.iter().all(|part| refused.stderr.contains(part)), "{refused:?}");
    let kept = alone(&["consume", &stream, "--group", "g", "--count", "1"]).await;
    assert_eq!(kept.payloads(), ["kept"]);
    for arguments in [&["group", "delete", &stream, "g", "--yes"][..], &["stream", "delete", &stream, "--yes"]] {
        let done = alone(arguments).await;
        assert_eq!(done.code, 0, "{done:?}");
    }
    assert_eq!(lab.run(&["stream", "show", &stream], "").await.code, 1);
}

#[tokio::test]
async fn a_stream_may_be_a_log_that_others_read() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let url = format!("{}&exchange=default&queue-type=stream", lab.url);
    let alone = async |arguments: &[&str]| run(command(&url, arguments), b"").await;
    for _ in 0..2 {
        let made = alone(&["stream", "create", &stream]).await;
        assert_eq!((made.code, made.records()[0]["stream"].as_str()), (0, Some(stream.as_str())), "{made:?}");
    }
    assert_eq!(alone(&["publish", &stream, "kept"]).await.code, 0);
    let refused = alone(&["consume", &stream, "--group", "g", "--count", "1"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
    assert!(refused.stderr.contains("is a stream queue"), "{refused:?}");
}

#[tokio::test]
async fn what_exists_otherwise_is_told_with_the_difference() {
    let lab = Lab::own().await;
    let create = |more: &'static [&'static str]| [&["stream", "create", "s"][..], more].concat();
    let classic = create(&["--group", "g", "--set", "queue-type=classic", "--set", "max-length=5"]);
    for _ in ["new", "alike"] {
        assert_eq!(lab.run(&classic, "").await.code, 0);
    }
    let server = lab.server.as_ref().expect("its own");
    let list = server.ctl(&["list_queues", "--no-table-headers", "name", "type"]).await.expect("a list");
    assert!(list.lines().any(|line| line == "s.g\tclassic"), "{list}");
    // Who asks for nothing in particular takes it as it is.
    assert_eq!(lab.run(&create(&["--group", "g"]), "").await.code, 0);
    for (other, parts) in [
        (&["--group", "g", "--set", "max-length=5"][..], ["x-queue-type", "classic"]),
        (&["--group", "g", "--set", "queue-type=classic", "--set", "max-length=7"], ["x-max-length", "'7'"]),
        (&["--set", "exchange=fanout"], ["fanout", "topic"]),
    ] {
        let done = lab.run(&create(other), "").await;
        assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{done:?}");
        assert!(parts.iter().all(|part| done.stderr.contains(part)), "{done:?}");
        assert_eq!(done.stderr.matches("inequivalent").count(), 1, "told once: {done:?}");
    }
    for (useless, part) in [("max-length=7", "group"), ("speed=high", "speed"), ("queue-type=magic", "quorum")] {
        let done = lab.run(&["stream", "create", "s", "--set", useless], "").await;
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains(part), "{done:?}");
    }
}

#[tokio::test]
async fn a_group_may_get_what_has_some_headers() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let create = async |arguments: &str| {
        let arguments = format!("binding-arguments={arguments}");
        let create = ["stream", "create", &stream, "--group", "g", "--set", "exchange=headers", "--set", &arguments];
        lab.run(&create, "").await
    };
    for _ in ["new", "alike"] {
        let created = create(r#"{"x-match":"any","format":"pdf","urgent":null}"#).await;
        assert_eq!(created.code, 0, "{created:?}");
    }
    let otherwise = create(r#"{"format":"png"}"#).await;
    assert_eq!(otherwise.code, 1, "{otherwise:?}");
    assert!(otherwise.stderr.contains(r#"with {"format":"pdf","#), "{otherwise:?}");

    let published = async |header| lab.run(&["publish", &stream, header, "--header", header], "").await.code;
    for taken in ["format=pdf", "urgent=yes"] {
        assert_eq!(published(taken).await, 0);
    }
    assert_eq!(published("format=png").await, 3);
    let consumed = lab.run(&["consume", &stream, "--group", "g", "--count", "2"], "").await;
    assert_eq!(consumed.payloads(), ["format=pdf", "urgent=yes"]);
}

#[tokio::test]
async fn a_bench_has_figures_and_leaves_nothing() {
    let lab = Lab::own().await;
    let done = lab.run(&["bench", "--messages", "2000", "--rate", "200"], "").await;
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    let bench = &done.of("bench")[0];
    assert_eq!(bench["broker"], json!("rabbitmq"), "{bench}");
    let listed = lab.run(&["stream", "list"], "").await;
    assert_eq!((listed.code, listed.of("stream").len()), (0, 0), "{listed:?}");
    let server = lab.server.as_ref().expect("its own");
    assert_eq!(server.ctl(&["list_queues", "--no-table-headers", "name"]).await.expect("a list"), "");
}

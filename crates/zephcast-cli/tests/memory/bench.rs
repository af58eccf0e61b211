//! `bench`, where a process can do it alone.

use super::{records, run};

#[tokio::test]
async fn every_figure_is_there_and_is_possible() {
    let arguments = ["bench", "--url", "memory://", "--messages", "5000", "--size", "64", "--rate", "200"];
    let done = run(&arguments).await;
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    let figures = &records(&done.stdout)[0];
    let begin = r#"{"event":"bench","broker":"memory","stream":"zephcast-bench-"#;
    assert!(done.stdout.starts_with(begin), "{figures}");
    assert_eq!(
        (&figures["messages"], &figures["size"], &figures["latency_messages"]),
        (&5_000.into(), &64.into(), &1_000.into())
    );
    for rate in ["publish_per_second", "consume_per_second"] {
        assert!(figures[rate].as_f64().is_some_and(|rate| rate > 1_000.0), "{rate}: {figures}");
    }
    let latency = ["p50", "p90", "p99", "p999", "max"].map(|at| figures["latency_ms"][at].as_f64().expect("a number"));
    assert!(latency[0] > 0.0 && latency.is_sorted() && latency[4] < 5_000.0, "{figures}");
}

#[tokio::test]
async fn a_stream_that_was_given_must_exist_and_a_payload_has_room_for_its_mark() {
    let missing = run(&["bench", "missing-stream", "--url", "memory://"]).await;
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""));
    assert!(missing.stderr.contains("missing-stream"), "{}", missing.stderr);
    for bad in [&["--size", "15"][..], &["--messages", "0"], &["--in-flight", "0"], &["--rate", "0"]] {
        let done = run(&[&["bench", "--url", "memory://"], bad].concat()).await;
        assert_eq!(done.code, Some(2), "{bad:?}: {}", done.stderr);
    }
}

//! How a group gets on, by the progress between two looks.

use serde_json::json;

use super::lab::Lab;

/// Publishes so many for each one that a member of `g` settles, and never ends. One is always left.
async fn settle_one_of(count: usize, lab: &Lab, stream: &str) {
    let client = zephcast::connect(&lab.url).await.expect("the server");
    let publisher = client.publisher(stream).await.expect("a publisher");
    let mut consumer = client.consumer(stream).group("g").start().await.expect("a member");
    publisher.publish("left").await.expect("stored");
    loop {
        for _ in 0..count {
            publisher.publish("x").await.expect("stored");
        }
        consumer.next().await.expect("no end").expect("a delivery").ack().expect("ours");
        consumer.commit().await.expect("settled");
    }
}

/// What these looks see while there is a member, and so many come for each one that it settles.
async fn while_settling<T>(one_of: usize, lab: &Lab, stream: &str, looks: impl Future<Output = T>) -> T {
    lab.run(&["stream", "create", stream, "--group", "g"], "").await;
    let looks = async {
        lab.status_when(stream, |status| status["members"] != json!([]) && status["lag"] != 0).await;
        looks.await
    };
    tokio::select! {
        seen = looks => seen,
        () = settle_one_of(one_of, lab, stream) => unreachable!("it goes on for ever"),
    }
}

#[tokio::test]
async fn a_group_that_does_nothing_fails_on_stalled() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 5).await;
    lab.run(&["consume", &stream, "--group", "g", "--count", "1"], "").await;
    let status = ["group", "status", &stream, "g", "--window", "100ms", "--fail-on", "stuck"];
    let fine = lab.run(&status, "").await;
    assert_eq!((fine.code, &fine.of("group")[0]["state"]), (0, &json!("stalled")), "{fine:?}");
    let failed = lab.run(&[&status[..], &["--fail-on", "stalled"]].concat(), "").await;
    assert_eq!(failed.code, 1);
    assert!(failed.stderr.contains("stalled"), "{failed:?}");
}

#[tokio::test]
async fn a_group_that_falls_behind_fails_on_lagging() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let status = ["group", "status", &stream, "g", "--window", "1s", "--fail-on", "stalled"];
    let twice = async {
        let fine = lab.run(&status, "").await;
        (fine, lab.run(&[&status[..], &["--fail-on", "lagging"]].concat(), "").await)
    };
    // All the time, so that every window of the command has some of both.
    let (fine, failed) = while_settling(2, &lab, &stream, twice).await;
    assert_eq!((fine.code, &fine.of("group")[0]["state"]), (0, &json!("lagging")), "{fine:?}");
    assert_eq!((failed.code, &failed.of("group")[0]["state"]), (1, &json!("lagging")), "{failed:?}");
    assert!(failed.stderr.contains("lagging: lag grew from"), "{failed:?}");
}

#[tokio::test]
async fn a_group_that_keeps_up_is_ok_though_there_is_always_something_to_do() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let looks = async {
        for _ in 0..3 {
            let status = ["group", "status", &stream, "g", "--window", "500ms", "--fail-on", "stalled"];
            let done = lab.run(&status, "").await;
            assert_eq!(done.code, 0, "{done:?}");
        }
    };
    while_settling(1, &lab, &stream, looks).await;
}

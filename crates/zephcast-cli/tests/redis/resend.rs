//! What nobody knows the outcome of, through outages that last longer than a publish.

use rustix::process::Signal;

use crate::lab::{Lab, Talk};

/// Stores a message, so that it is known to be connected.
async fn publisher(lab: &Lab, stream: &str, more: &[&str]) -> Talk {
    let mut talk = lab.talk(&[&["publish", stream, "--create", "--timeout", "1s"], more].concat());
    talk.say("one").await;
    assert_eq!(talk.until("published").await["outcome"], "stored");
    talk
}

#[tokio::test]
async fn what_may_be_stored_is_sent_again_although_later_copies_certainly_are_not() {
    let mut lab = Lab::own().await;
    let stream = lab.stream();
    let mut stubborn = publisher(&lab, &stream, &["--resend", "100"]).await;
    let mut plain = publisher(&lab, &stream, &[]).await;
    let server = lab.server.as_mut().expect("its own");
    server.stop().expect("frozen");
    stubborn.say("two").await;
    plain.say("two").await;
    assert_eq!(plain.until("published").await["outcome"], "unknown");
    server.kill9().expect("killed");
    // Where there is no server a publish fails for certain, once that is known; two of them last as long as a later copy
    // and more.
    let mut failures = 0;
    while failures < 2 {
        plain.say("three").await;
        failures += u32::from(plain.until("published").await["outcome"] == "failed");
    }
    server.restart().await.expect("it is back");
    let stored = stubborn.until("published").await;
    assert_eq!((&stored["outcome"], &stored["n"]), (&"stored".into(), &1.into()), "{stored}");
    stubborn.hush();
    assert_eq!(stubborn.finish().await.0, 0);
}

#[tokio::test]
async fn a_signal_ends_the_sending_again_and_no_more_than_the_bound_is_unknown() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    let mut stubborn = publisher(&lab, &stream, &["--resend", "1000000", "--in-flight", "1"]).await;
    let mut plain = publisher(&lab, &stream, &[]).await;
    lab.server.as_ref().expect("its own").stop().expect("frozen");
    for line in ["two", "three"] {
        stubborn.say(line).await;
    }
    for line in ["two", "three"] {
        plain.say(line).await;
        assert_ne!(plain.until("published").await["outcome"], "stored");
    }
    stubborn.signal(Signal::INT);
    let (code, heard, stderr) = stubborn.finish().await;
    assert_eq!(code, 4, "{heard:?} {stderr}");
    let summary = heard.last().expect("a summary");
    assert_eq!((&summary["event"], &summary["stored"], &summary["unknown"]), (&"summary".into(), &1.into(), &1.into()));
}

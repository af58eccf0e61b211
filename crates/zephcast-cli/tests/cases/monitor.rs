//! `monitor`.

use std::collections::BTreeSet;
use std::time::Duration;

use integration_tests::ports;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::lab::{CANARY, LIMIT, Lab, Talk, command, run};
use crate::broker::NAME;

/// A monitor on a free port, and where it listens.
async fn start(lab: &Lab, arguments: &[&str]) -> (Talk, String) {
    let listen = ["monitor", "--listen", "127.0.0.1:0", "--interval", "200ms", "--window", "0s"];
    let mut talk = lab.talk(&[&listen, arguments].concat());
    let url = talk.until("listening").await["url"].as_str().expect("text").to_owned();
    let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).expect("its address");
    (talk, address.to_owned())
}

/// Asks once and returns status and body.
async fn get(address: &str, path: &str) -> (u16, String) {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("it answers");
        answer
    };
    let answer = timeout(LIMIT, exchange).await.expect("in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// Asks until the answer is as it should be: the next look shows it.
async fn get_when(address: &str, path: &str, is: impl Fn(u16, &str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let (status, body) = get(address, path).await;
        if is(status, &body) {
            return body;
        }
        assert!(began.elapsed() < LIMIT, "{path}: {status} {body}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn sample(metrics: &str, name: &str, labels: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{{labels}}} ")))?;
    line.rsplit(' ').next().and_then(|value| value.parse().ok())
}

/// The broker's name in labels.
fn label(lab: &Lab) -> String {
    lab.url.split('?').next().expect("a URL").to_owned()
}

#[tokio::test]
async fn a_groups_figures_are_metrics_and_a_record() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 5).await;
    lab.run(&["consume", &stream, "--group", "g", "--count", "2"], "").await;
    lab.run(&["consume", &stream, "--group", "other", "--count", "1"], "").await;
    let mut member = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin", "--prefetch", "1"]);
    member.until("delivery").await;
    let (mut monitor, address) = start(&lab, &["--stream", &stream]).await;
    let labels = format!("broker=\"{}\",stream=\"{stream}\",group=\"g\"", label(&lab));
    let is_seen = |_, text: &str| sample(text, "zephcast_group_in_flight", &labels) == Some(1.0);
    let metrics = get_when(&address, "/metrics", is_seen).await;
    for (name, value) in [("lag", 3.0), ("members", 1.0), ("dead_letters", 0.0), ("delayed", 0.0)] {
        assert_eq!(sample(&metrics, &format!("zephcast_group_{name}"), &labels), Some(value), "{name}: {metrics}");
    }
    assert_eq!(sample(&metrics, "zephcast_group_state", &format!("{labels},state=\"ok\"")), Some(1.0), "{metrics}");
    assert_eq!(sample(&metrics, "zephcast_group_state", &format!("{labels},state=\"stuck\"")), Some(0.0), "{metrics}");
    assert!(sample(&metrics, "zephcast_group_oldest_pending_seconds", &labels).is_some(), "{metrics}");

    let (status, body) = get(&address, "/status").await;
    let groups: Vec<Value> = serde_json::from_str(&body).expect("an array");
    let names: BTreeSet<_> = groups.iter().map(|group| group["group"].as_str().expect("text")).collect();
    assert_eq!((status, names), (200, BTreeSet::from(["g", "other"])), "only of the stream that was named: {body}");
    let group = groups.iter().find(|group| group["group"] == "g").expect("g");
    assert_eq!((&group["event"], &group["lag"], &group["url"]), (&json!("group"), &json!(3), &json!(label(&lab))));
    assert_eq!(get(&address, "/healthz").await.0, 200);
    let (status, page) = get(&address, "/").await;
    assert!(status == 200 && page.contains("<html"), "{page}");

    for signal in [Signal::TERM, Signal::INT] {
        let (mut other, _) = start(&lab, &["--group", "g"]).await;
        other.signal(signal);
        assert_eq!(other.finish().await.0, 0);
    }
    // One that is kept open ends with it.
    let _idle = TcpStream::connect(&address).await.expect("it listens");
    monitor.signal(Signal::TERM);
    let began = Instant::now();
    let (code, _, stderr) = monitor.finish().await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
    member.signal(Signal::KILL);
}

#[tokio::test]
async fn a_broker_that_is_away_takes_its_metrics_along_and_no_other() {
    let there = Lab::start().await;
    let mut lab = Lab::own().await;
    let stream = lab.stream();
    for lab in [&there, &lab] {
        lab.fill(&stream, 1).await;
        lab.run(&["stream", "create", &stream, "--group", "g"], "").await;
    }
    let nobody = format!("{NAME}://127.0.0.1:{}", ports::free().expect("a port"));
    let urls = ["--url", &there.url, "--url", &lab.url, "--stream", &stream, "--connect-timeout", "2s"];
    let (mut monitor, address) = start(&lab, &urls).await;
    let labels = |lab: &Lab| format!("broker=\"{}\",stream=\"{stream}\",group=\"g\"", label(lab));
    let lag = |metrics: &str, lab: &Lab| sample(metrics, "zephcast_group_lag", &labels(lab));
    get_when(&address, "/metrics", |_, text| lag(text, &there).is_some() && lag(text, &lab).is_some()).await;
    assert_eq!(get(&address, "/healthz").await.0, 200);

    lab.server.as_mut().expect("its own").kill9().expect("killed");
    let metrics = get_when(&address, "/metrics", |_, text| lag(text, &lab).is_none()).await;
    assert!(lag(&metrics, &there).is_some() && !metrics.contains(&labels(&lab)), "{metrics}");
    let up = |metrics: &str, lab: &Lab| sample(metrics, "zephcast_broker_up", &format!("broker=\"{}\"", label(lab)));
    assert_eq!((up(&metrics, &there), up(&metrics, &lab)), (Some(1.0), Some(0.0)));
    let health = get_when(&address, "/healthz", |status, _| status == 503).await;
    assert!(health.contains(&format!("{}: no answer: ", label(&lab))), "{health}");
    assert!(health.contains(&format!("{}: 1 groups", label(&there))), "{health}");

    lab.server.as_mut().expect("its own").restart().await.expect("restarted");
    get_when(&address, "/metrics", |_, text| lag(text, &lab).is_some()).await;
    get_when(&address, "/healthz", |status, _| status == 200).await;
    monitor.signal(Signal::TERM);
    let (code, _, stderr) = monitor.finish().await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        (stderr.matches("no answer, trying again").count(), stderr.matches("reconnected").count()),
        (1, 1),
        "{stderr}"
    );

    // One that was never there is waited for: it may come.
    let urls = ["--url", &there.url, "--url", &nobody, "--connect-timeout", "1s"];
    let (mut monitor, address) = start(&there, &urls).await;
    let both = |_, text: &str| text.contains(&format!("{nobody}: no answer: connect")) && text.contains(" groups\n");
    get_when(&address, "/healthz", both).await;
    monitor.signal(Signal::TERM);
    assert_eq!(monitor.finish().await.0, 0);
}

#[tokio::test]
async fn no_secret_is_shown_and_what_cannot_be_used_is_named() {
    let port = ports::free().expect("a port");
    let url = format!("{NAME}://app:{CANARY}@127.0.0.1:{port}");
    let lab = Lab { url, server: None };
    let (mut monitor, address) = start(&lab, &["--connect-timeout", "500ms", "-v"]).await;
    let health = get_when(&address, "/healthz", |_, text| text.contains("no answer")).await;
    let pages = [health, get(&address, "/metrics").await.1, get(&address, "/status").await.1];
    assert!(
        pages[1].contains(&format!("zephcast_broker_up{{broker=\"{NAME}://127.0.0.1:{port}\"}} 0")),
        "{}",
        pages[1]
    );
    let taken = run(command(&lab.url, &["monitor", "--listen", &address]), b"").await;
    assert_eq!(taken.code, 1, "{taken:?}");
    assert!(taken.stderr.contains(&address), "{taken:?}");
    monitor.signal(Signal::TERM);
    let (code, _, stderr) = monitor.finish().await;
    assert_eq!(code, 0);
    for text in pages.iter().chain([&stderr]) {
        assert!(!text.contains(CANARY) && !text.contains("app:"), "{text}");
    }
    for arguments in [
        &["monitor", "--listen", "somewhere"][..],
        &["monitor", "--interval", "0s"],
        &["monitor", "--url", &lab.url, "--url", &lab.url],
        &["monitor", "--url", "carrier-pigeon://roof"],
        &["check", "--url", &lab.url, "--url", "memory://"],
    ] {
        let done = run(command(&lab.url, arguments), b"").await;
        assert_eq!(done.code, 2, "{arguments:?}: {done:?}");
    }
}

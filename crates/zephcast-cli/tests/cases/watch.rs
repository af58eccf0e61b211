//! `group watch`.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::lab::{LIMIT, Lab};

#[tokio::test]
async fn each_look_is_a_line_like_that_of_status_until_the_last_one() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 5).await;
    lab.run(&["consume", &stream, "--group", "g", "--count", "2"], "").await;
    let watch = ["group", "watch", &stream, "g", "--interval", "100ms", "--window", "150ms", "--count", "4"];
    let done = lab.run(&watch, "").await;
    let looks = done.of("group");
    assert_eq!((done.code, looks.len()), (0, 4), "{done:?}");
    assert!(looks.iter().all(|look| look["group"] == "g" && look["lag"] == 3), "{done:?}");
    assert_eq!(looks[0]["settled_per_second"], json!(null), "one look has no rate: {done:?}");
    let last = &looks[3];
    assert_eq!((&last["state"], &last["settled_per_second"]), (&json!("stalled"), &json!(0.0)), "{done:?}");
    assert!(last["evidence"].as_str().expect("text").contains("nothing settled"), "{done:?}");
    let status = lab.run(&["group", "status", &stream, "g", "--window", "150ms"], "").await.of("group").remove(0);
    let keys = |record: &serde_json::Value| record.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(last), keys(&status));

    let text = lab.run(&[&watch[..], &["--output", "text"]].concat(), "").await;
    assert_eq!((text.code, text.stdout.matches("lag 3, in flight 0").count()), (0, 4), "{text:?}");
    assert!(!text.stdout.contains('\x1b'), "nothing is drawn in a pipe: {text:?}");
}

#[tokio::test]
async fn all_groups_are_looked_up_anew_until_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let lab = Lab::start().await;
        let stream = lab.stream();
        lab.run(&["stream", "create", &stream, "--group", "a"], "").await;
        let mut talk = lab.talk(&["group", "watch", &stream, "--interval", "100ms"]);
        assert_eq!(talk.until("group").await["group"], "a");
        let created = lab.run(&["stream", "create", &stream, "--group", "b"], "").await;
        assert_eq!(created.code, 0, "{created:?}");
        while talk.until("group").await["group"] != "b" {}
        talk.signal(signal);
        let (code, _, stderr) = talk.finish().await;
        assert_eq!((code, stderr.as_str()), (0, ""));
    }
}

#[tokio::test]
async fn what_does_not_exist_is_named_and_a_stream_without_groups_is_told_once() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.run(&["stream", "create", &stream], "").await;
    for watch in [&["group", "watch", &stream, "missing-g"][..], &["group", "watch", "missing-stream"]] {
        let missing = lab.run(watch, "").await;
        assert_eq!((missing.code, missing.stdout.as_str()), (1, ""), "{missing:?}");
        assert!(missing.stderr.contains("missing-"), "{missing:?}");
    }
    let none = lab.run(&["group", "watch", &stream, "--interval", "50ms", "--count", "3"], "").await;
    assert_eq!((none.code, none.stdout.as_str(), none.stderr.as_str()), (0, "", &*format!("{stream} has no groups\n")));
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_before_the_next_look() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.run(&["stream", "create", &stream, "--group", "g"], "").await;
    let mut child = lab.command(&["group", "watch", &stream, "g", "--interval", "1h"]).spawn().expect("a start");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    timeout(LIMIT, lines.next_line()).await.expect("in time").expect("UTF-8").expect("the first look");
    drop(lines);
    let status = timeout(LIMIT, child.wait()).await.expect("it ends in time").expect("its status");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn an_outage_is_told_on_stderr_and_watching_goes_on() {
    let mut lab = Lab::own().await;
    let stream = lab.stream();
    lab.fill(&stream, 3).await;
    lab.run(&["consume", &stream, "--group", "g", "--count", "1"], "").await;
    let mut talk = lab.talk(&["group", "watch", &stream, "g", "--interval", "200ms"]);
    talk.until("group").await;
    let mut stderr = BufReader::new(talk.child.stderr.take().expect("piped")).lines();
    let mut told = async || timeout(LIMIT, stderr.next_line()).await.expect("in time").expect("UTF-8").expect("a line");
    let server = lab.server.as_mut().expect("its own");
    server.kill9().expect("killed");
    let away = told().await;
    assert!(away.starts_with("disconnected, trying again: ") && away.contains("127.0.0.1"), "{away}");
    server.restart().await.expect("restarted");
    let back = told().await;
    assert!(back.starts_with("reconnected after "), "told once, and then: {back}");
    let before = talk.heard.len();
    while talk.heard.len() < before + 2 {
        assert_eq!(talk.until("group").await["lag"], 2);
    }
    talk.signal(Signal::TERM);
    let status = timeout(LIMIT, talk.child.wait()).await.expect("it ends in time").expect("its status");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn at_a_terminal_a_table_is_drawn_over_the_one_before() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 3).await;
    lab.run(&["consume", &stream, "--group", "g", "--count", "1"], "").await;
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other side");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let terminal = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other side");
    tcsetwinsize(&terminal, Winsize { ws_row: 12, ws_col: 70, ws_xpixel: 0, ws_ypixel: 0 }).expect("its size");
    let (sender, mut drawn) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let (mut master, mut bytes) = (File::from(master), [0; 4096]);
        // The end is an error here, and nobody may listen any more.
        while let Ok(read @ 1..) = master.read(&mut bytes) {
            let _ = sender.send(bytes[..read].to_vec());
        }
    });
    let mut command = lab.command(&["group", "watch", &stream, "g", "--interval", "100ms", "--count", "3"]);
    command.env("TERM", "xterm").stdout(Stdio::from(terminal));
    let mut child = command.spawn().expect("a start");
    // It holds the terminal open too.
    drop(command);
    let status = timeout(LIMIT, child.wait()).await.expect("it ends in time").expect("its status");
    let mut screen = Vec::new();
    while let Some(bytes) = timeout(LIMIT, drawn.recv()).await.expect("in time") {
        screen.extend(bytes);
    }
    let screen = String::from_utf8(screen).expect("UTF-8");
    assert_eq!(status.code(), Some(0), "{screen}");
    assert_eq!((screen.matches("\x1b[2J").count(), screen.matches("\x1b[H").count()), (1, 3), "{screen:?}");
    let last = screen.rsplit("\x1b[H").next().expect("a frame");
    assert!(last.starts_with(&stream) && last.contains("GROUP  STATE") && last.contains("███"), "{last:?}");
    assert!(last.contains("UNIT  COMMITTED"), "of one group there is everything: {last:?}");
    let widest = last.lines().map(|line| line.trim_end_matches("\x1b[K").chars().count()).max();
    assert!(last.lines().count() <= 12 && widest <= Some(70), "{widest:?}: {last:?}");
}

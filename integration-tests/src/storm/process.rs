//! A member in a process of its own: the command line, which can be killed and frozen.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zephcast_conformance::History;

use super::Terms;
use super::outages::Outages;

/// A member in a process of its own.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The member's name in the group.
    pub name: String,
    /// What it says of its broker.
    pub outages: Outages,
    patience: Duration,
    /// How many deliveries it has printed.
    printed: watch::Receiver<u64>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts a member and waits until it has joined.
    ///
    /// # Panics
    /// When the command is not there, or does not join.
    pub async fn start(terms: Terms, url: &str, history: Arc<History>) -> Self {
        let Terms { stream, group, patience, .. } = terms;
        let (lease, prefetch) = (format!("{}ms", terms.lease.as_millis()), terms.prefetch.to_string());
        let mut child = Command::new(command())
            .args(["--url", url, "--output", "json", "consume", stream, "--group", group, "--lease", &lease])
            .args(["--prefetch", &prefetch])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the command starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let joined = lines.next_line().await.expect("reads").expect("a record of joining");
        let joined: Value = serde_json::from_str(&joined).expect("a record");
        let name = joined["member"].as_str().expect("a member's name").to_owned();
        let (print, printed) = watch::channel(0);
        let outages = Outages::default();
        let told = outages.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // A process that is killed may leave half a line: it was not acked.
                let Ok(record) = serde_json::from_str::<Value>(&line) else { continue };
                match record["event"].as_str() {
                    Some("delivery") => {
                        note(&history, &record);
                        print.send_modify(|count| *count += 1);
                    }
                    Some("disconnected") => told.disconnected(),
                    Some("reconnected") => told.reconnected(),
                    Some("lost") => told.lost(),
                    _ => {}
                }
            }
        });
        Self { child, name, outages, patience, printed, reader }
    }

    /// Waits until it has printed so many more.
    ///
    /// # Panics
    /// When it does not.
    pub async fn more(&mut self, count: u64) {
        let goal = *self.printed.borrow() + count;
        let reached = self.printed.wait_for(|printed| *printed >= goal);
        tokio::time::timeout(self.patience, reached).await.expect("deliveries go on").expect("the process lives");
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("it runs");
        kill_process(pid, signal).expect("a signal to our own process");
    }

    /// Ends it as a crash does, and reads what it had printed.
    ///
    /// # Panics
    /// When it had ended by itself.
    pub async fn kill9(mut self) {
        self.signal(Signal::KILL);
        let status = self.child.wait().await.expect("waits");
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it ended by itself, with {status}");
        self.reader.await.expect("reads to the end");
    }

    /// Ends it in good order.
    ///
    /// # Panics
    /// When it does not end so.
    pub async fn end(mut self) {
        self.signal(Signal::TERM);
        let status = tokio::time::timeout(self.patience, self.child.wait()).await.expect("ends").expect("waits");
        assert!(status.success(), "a member that was asked to end ended with {status}");
        self.reader.await.expect("reads to the end");
    }
}

fn note(history: &History, record: &Value) {
    let member = record["member"].as_str().unwrap_or_default();
    let payload = match (record["payload"].as_str(), record["payload_base64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(text)) => base64::engine::general_purpose::STANDARD.decode(text).expect("base64"),
        (None, None) => Vec::new(),
    };
    history.delivered(member, &payload);
}

/// The command: what the environment names, else what the workspace's build leaves beside the tests.
fn command() -> PathBuf {
    if let Some(named) = std::env::var_os("ZEPHCAST_TEST_CLI") {
        return named.into();
    }
    let tests = std::env::current_exe().expect("a path");
    let built = tests.ancestors().nth(2).expect("a target folder").join("zephcast");
    assert!(built.exists(), "{} is missing: `cargo build -p zephcast-cli` makes it", built.display());
    built
}

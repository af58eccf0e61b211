//! A broker and the command beside it.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::broker::{self, Server};

/// Nothing here takes longer; what does hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A password that must not be shown.
pub(crate) const CANARY: &str = "zc-canary-password";

pub(crate) struct Lab {
    pub(crate) url: String,
    /// `None` where a server was given.
    pub(crate) server: Option<Server>,
}

impl Lab {
    /// Streams that it creates have one unit, so that there is one order.
    pub(crate) async fn start() -> Self {
        Self::start_with_units(1).await
    }

    /// Streams that it creates have a unit for each of several members.
    pub(crate) async fn start_wide() -> Self {
        Self::start_with_units(3).await
    }

    /// Streams that it creates have so many units, where a broker has them.
    pub(crate) async fn start_with_units(units: u32) -> Self {
        match std::env::var(broker::URL_VARIABLE) {
            Ok(url) => Self { url: broker::url(&url, units), server: None },
            Err(_) => {
                let server = broker::start().await;
                Self { url: broker::url(&server.url(), units), server: Some(server) }
            }
        }
    }

    /// A server of the test's own, to be broken.
    pub(crate) async fn own() -> Self {
        Self::of(broker::start().await)
    }

    /// A server of the test's own, as it was configured.
    pub(crate) fn of(server: Server) -> Self {
        Self { url: broker::url(&server.url(), 1), server: Some(server) }
    }

    /// A stream name that no other test has.
    pub(crate) fn stream(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs the command to its end.
    pub(crate) async fn run(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Finished {
        run(self.command(arguments), input.as_ref()).await
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        command(&self.url, arguments)
    }

    /// Starts the command and talks to it.
    pub(crate) fn talk(&self, arguments: &[&str]) -> Talk {
        let mut child = self.command(arguments).spawn().expect("the command");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        Talk { stdin: child.stdin.take(), stdout, child, killed: false, heard: Vec::new() }
    }

    /// Makes the stream with the group `g`, where nothing can be published before there is a group.
    pub(crate) async fn ready(&self, stream: &str) {
        self.ready_for(stream, "g").await;
    }

    /// As [`ready`](Self::ready), with another group.
    pub(crate) async fn ready_for(&self, stream: &str, group: &str) {
        if !broker::KEEPS_WITHOUT_GROUP {
            let made = self.run(&["stream", "create", stream, "--group", group], "").await;
            assert_eq!(made.code, 0, "{made:?}");
        }
    }

    /// Publishes lines for the group `g` and expects that all are stored.
    pub(crate) async fn publish(&self, stream: &str, lines: &[String]) {
        self.ready(stream).await;
        let done = self.run(&["publish", stream, "--create"], lines.join("\n")).await;
        assert_eq!(done.code, 0, "{done:?}");
    }

    /// The status of the group `g` once it is like this. Not every broker has it at once.
    pub(crate) async fn status_when(&self, stream: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.run(&["group", "status", stream, "g", "--window", "0s"], "").await.of("group").remove(0);
            if is(&status) {
                return status;
            }
            assert!(began.elapsed() < LIMIT, "{status}");
        }
    }

    /// `publish`es `m0` to `m{count-1}` and returns them.
    pub(crate) async fn fill(&self, stream: &str, count: usize) -> Vec<String> {
        let lines: Vec<_> = (0..count).map(|n| format!("m{n}")).collect();
        self.publish(stream, &lines).await;
        lines
    }
}

pub(crate) fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zephcast"));
    command.args(arguments).env("ZEPHCAST_URL", url).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) async fn run(mut command: Command, input: &[u8]) -> Finished {
    let mut child = command.spawn().expect("the command");
    let mut stdin = child.stdin.take().expect("piped");
    let feed = async {
        // A command that fails at once reads nothing.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let ended = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = timeout(LIMIT, ended).await.expect("it ends in time").expect("its output");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn records(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }

    /// The records of one event.
    pub(crate) fn of(&self, event: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["event"] == event).collect()
    }

    /// The payloads of all deliveries.
    pub(crate) fn payloads(&self) -> Vec<String> {
        payloads(&self.of("delivery"))
    }
}

pub(crate) fn payloads(records: &[Value]) -> Vec<String> {
    let deliveries = records.iter().filter(|record| record["event"] == "delivery");
    deliveries.map(|record| record["payload"].as_str().expect("text").to_owned()).collect()
}

/// A command that runs.
pub(crate) struct Talk {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    killed: bool,
    pub(crate) heard: Vec<Value>,
}

impl Talk {
    /// The next line; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        timeout(LIMIT, self.stdout.next_line()).await.expect("it says something in time").expect("UTF-8")
    }

    /// The next record; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let line = self.line().await?;
        let record: Value = match serde_json::from_str(&line) {
            // What was being written when it was killed.
            Err(_) if self.killed => return None,
            parsed => parsed.unwrap_or_else(|_| panic!("no JSON: {line}")),
        };
        self.heard.push(record.clone());
        Some(record)
    }

    /// Skips to the next record of this event.
    pub(crate) async fn until(&mut self, event: &str) -> Value {
        while let Some(record) = self.next().await {
            if record["event"] == event {
                return record;
            }
        }
        panic!("it ended without {event}: {:?}", self.heard)
    }

    pub(crate) async fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it listens");
    }

    /// Ends its stdin.
    pub(crate) fn hush(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.killed |= signal == Signal::KILL;
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw).expect("it runs");
        kill_process(pid, signal).expect("it runs");
    }

    /// Hears the rest and returns the exit code and stderr.
    pub(crate) async fn finish(mut self) -> (i32, Vec<Value>, String) {
        while self.next().await.is_some() {}
        let mut stderr = String::new();
        let pipe = self.child.stderr.as_mut().expect("piped");
        timeout(LIMIT, pipe.read_to_string(&mut stderr)).await.expect("it ends in time").expect("its stderr");
        let status = timeout(LIMIT, self.child.wait()).await.expect("it ends in time").expect("its status");
        (status.code().unwrap_or(-1), self.heard, stderr)
    }
}

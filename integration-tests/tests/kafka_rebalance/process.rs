//! A member in a process of its own, which can be killed: this program once more.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zephcast_conformance::History;

use super::lab::Lab;
use super::{PATIENCE, PREFETCH};

/// What the process is told by its environment.
const URL: &str = "ZEPHCAST_MEMBER_URL";
const STREAM: &str = "ZEPHCAST_MEMBER_STREAM";
const GROUP: &str = "ZEPHCAST_MEMBER_GROUP";
const LEASE: &str = "ZEPHCAST_MEMBER_LEASE_MS";
/// Marks its lines among those of the test's frame.
const MARK: &str = "@ ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a member that other cases start as a process"]
async fn is_a_member() {
    let told = |name| std::env::var(name).expect("started by another case");
    let client = zephcast::connect(&told(URL)).await.expect("connects");
    let lease = Duration::from_millis(told(LEASE).parse().expect("milliseconds"));
    let builder = client.consumer(told(STREAM)).group(told(GROUP)).lease(lease).prefetch(PREFETCH);
    let mut consumer = builder.start().await.expect("joins");
    say(consumer.member().as_str());
    loop {
        let delivery = consumer.next().await.expect("no end").expect("no permanent error");
        say(delivery.payload_str().expect("text"));
        // One that came too late comes again, which the history sees.
        let _ = delivery.ack();
    }
}

/// In one write, so that a death leaves whole lines.
fn say(text: &str) {
    std::io::stdout().write_all(format!("\n{MARK}{text}\n").as_bytes()).expect("somebody listens");
}

pub(crate) struct Process {
    child: Child,
    /// The member's name in the group.
    pub(crate) name: String,
    printed: watch::Receiver<u64>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts a member and waits until it has joined.
    pub(crate) async fn start(lab: &Lab, lease: Duration) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["process::is_a_member", "--exact", "--ignored", "--nocapture"])
            .envs([(URL, lab.url()), (STREAM, lab.stream.clone()), (GROUP, lab.group.clone())])
            .env(LEASE, lease.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let name = loop {
            let line = lines.next_line().await.expect("reads").expect("it joins");
            if let Some(name) = line.strip_prefix(MARK) {
                break name.to_owned();
            }
        };
        let (print, printed) = watch::channel(0);
        let history: Arc<History> = lab.history.clone();
        let reader = tokio::spawn({
            let name = name.clone();
            async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Some(payload) = line.strip_prefix(MARK) {
                        history.delivered(&name, payload.as_bytes());
                        print.send_modify(|count| *count += 1);
                    }
                }
            }
        });
        Self { child, name, printed, reader }
    }

    /// Waits until it has handled so many more.
    pub(crate) async fn works(&mut self, more: u64) {
        let so_far = *self.printed.borrow();
        let works = tokio::time::timeout(PATIENCE, self.printed.wait_for(|printed| *printed >= so_far + more)).await;
        works.expect("deliveries in time").expect("it lives");
    }

    /// Ends it as a crash does, and reads what it had printed.
    pub(crate) async fn kill9(mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("it runs");
        kill_process(id, Signal::KILL).expect("kills");
        let status = self.child.wait().await.expect("waits");
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it ended by itself, with {status}");
        self.reader.await.expect("reads to the end");
    }
}

//! A member in a process of its own, which can be killed.

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
        let mut child = Command::new(env!("CARGO_BIN_EXE_member"))
            .args([lab.url(), lab.stream.clone(), lab.group.clone()])
            .args([lease.as_millis().to_string(), PREFETCH.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the member starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let name = lines.next_line().await.expect("reads").expect("it joins");
        let (print, printed) = watch::channel(0);
        let history: Arc<History> = lab.history.clone();
        let reader = tokio::spawn({
            let name = name.clone();
            async move {
                while let Ok(Some(payload)) = lines.next_line().await {
                    history.delivered(&name, payload.as_bytes());
                    print.send_modify(|count| *count += 1);
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

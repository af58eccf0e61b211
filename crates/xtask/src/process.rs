//! Child processes: bounded in time, never left behind, their output shown while it is read.

use std::env;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long a command that must not be cut off is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether a child's stdout is shown, too.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Echo {
    Shown,
    Hidden,
}

/// How a child process ended and what it wrote to stdout.
pub(crate) struct Finished {
    /// `None` when its time was up and it was killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: String,
    pub(crate) took: Duration,
}

impl Finished {
    pub(crate) fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    pub(crate) fn end(&self) -> String {
        match self.status {
            Some(status) => status.to_string(),
            None => format!("killed after {:.0} s", self.took.as_secs_f64()),
        }
    }
}

/// Runs a command in a process group of its own, which is killed as a whole when `limit` has passed or when this future
/// is dropped. Its stderr is ours, its stdin is empty.
pub(crate) async fn run(command: Command, limit: Duration, echo: Echo) -> anyhow::Result<Finished> {
    run_until(command, limit, echo, GiveUp::Kill).await
}

/// As [`run`], for a command that must not be cut off: it is asked to stop by SIGINT and waited for, also by a drop of
/// this future, which blocks as long.
pub(crate) async fn run_gently(command: Command, limit: Duration, echo: Echo) -> anyhow::Result<Finished> {
    run_until(command, limit, echo, GiveUp::Ask).await
}

async fn run_until(mut command: Command, limit: Duration, echo: Echo, how: GiveUp) -> anyhow::Result<Finished> {
    let started = Instant::now();
    let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("{:?} did not start", command.as_std().get_program()))?;
    let group = Group::of(&child, how);
    let mut stdout = String::new();
    let status = match timeout(limit, read_to_end(&mut child, echo, &mut stdout)).await {
        Ok(status) => {
            group.disarm();
            Some(status?)
        }
        Err(_) => {
            drop(group);
            child.wait().await?;
            None
        }
    };
    Ok(Finished { status, stdout, took: started.elapsed() })
}

/// Whether a command succeeds; what it says is not shown.
pub(crate) async fn succeeds(program: &str, arguments: &[&str], limit: Duration) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stderr(Stdio::null());
    run(command, limit, Echo::Hidden).await.is_ok_and(|finished| finished.success())
}

/// Where a program lies on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Debian keeps some programs where an ordinary user's path does not look.
    let extra = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/opt/homebrew/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(extra).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The user or the system asked this program to end.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Waits for SIGINT or SIGTERM.
pub(crate) async fn interruption() -> anyhow::Result<Interrupted> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(Interrupted)
}

async fn read_to_end(child: &mut Child, echo: Echo, into: &mut String) -> io::Result<ExitStatus> {
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).await? > 0 {
            if echo == Echo::Shown {
                let mut shown = io::stdout().lock();
                shown.write_all(&line)?;
                shown.flush()?;
            }
            into.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
    child.wait().await
}

/// What happens to a process group that is given up.
#[derive(Clone, Copy)]
enum GiveUp {
    Kill,
    Ask,
}

/// Ends a process group when dropped. Its leader must not be collected before.
struct Group {
    leader: Option<Pid>,
    how: GiveUp,
}

impl Group {
    fn of(child: &Child, how: GiveUp) -> Self {
        Self { leader: child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)), how }
    }

    fn disarm(mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(leader) = self.leader else { return };
        if let GiveUp::Ask = self.how {
            // The leader alone: it knows best when what it runs can be stopped.
            if kill_process(leader, Signal::INT).is_ok() && ends(leader) {
                return;
            }
        }
        // It fails only when all of the group have ended already.
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

/// Waits until a child has ended, for as long as patience lasts. It is collected by whoever started it.
#[expect(clippy::disallowed_methods, reason = "a drop cannot await, and this program has nothing else to do")]
fn ends(child: Pid) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while Instant::now() < deadline {
        match waitid(WaitId::Pid(child), exited) {
            Ok(None) | Err(Errno::INTR) => std::thread::sleep(Duration::from_millis(20)),
            Ok(Some(_)) | Err(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Says that it runs, and when it is interrupted takes its time to tidy up.
    fn careful(folder: &Path) -> Command {
        let script = "trap 'sleep 0.3; touch tidied; exit 9' INT; touch begun; while :; do sleep 0.05; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(folder);
        command
    }

    async fn begun(folder: &Path) {
        while !folder.join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_gentle_end_is_waited_for_and_another_is_not() {
        for (gentle, tidied) in [(true, true), (false, false)] {
            let folder = tempfile::tempdir().unwrap();
            let (command, limit) = (careful(folder.path()), Duration::from_secs(60));
            let dropped = async {
                match gentle {
                    true => run_gently(command, limit, Echo::Hidden).await,
                    false => run(command, limit, Echo::Hidden).await,
                }
            };
            tokio::select! {
                _ = dropped => unreachable!("it runs until it is stopped"),
                () = begun(folder.path()) => {}
            }
            assert_eq!(folder.path().join("tidied").exists(), tidied, "gentle: {gentle}");
        }
    }

    #[tokio::test]
    async fn a_gentle_end_is_waited_for_when_the_time_is_up() {
        let folder = tempfile::tempdir().unwrap();
        let finished = run_gently(careful(folder.path()), Duration::from_secs(1), Echo::Hidden).await.unwrap();
        assert!(finished.status.is_none() && folder.path().join("tidied").exists());
    }
}

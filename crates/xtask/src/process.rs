//! Child processes: bounded in time, never left behind, their output shown while it is read.

use std::{
    env,
    fmt::{self, Display},
    io::{self, Write},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::timeout,
};

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
pub(crate) async fn run(mut command: Command, limit: Duration, echo: Echo) -> anyhow::Result<Finished> {
    let started = Instant::now();
    let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("{:?} did not start", command.as_std().get_program()))?;
    let group = Group::of(&child);
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
    let extra = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"].map(PathBuf::from);
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

/// Kills a process group when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It fails only when all of the group have ended already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

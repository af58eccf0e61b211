//! One run of the command.

use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin};
use zephcast::Delivery;

use super::environment;
use crate::children::Children;

/// The exit status that says that the message is at fault and will never work (`EX_DATAERR` of sysexits.h).
const REJECTED: i32 = 65;
/// Of stderr so many bytes become part of the reason.
const TAIL: usize = 800;
/// What a command left running may keep stderr open; it is listened to for so long after the command's end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What is run for each delivery.
#[derive(Debug)]
pub(crate) struct Command {
    text: String,
    /// Whether stdout is for records, so that the command's output goes to stderr.
    apart: bool,
    children: Children,
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Rejected(String),
    Failed(String),
    /// This machine had no process, memory or file descriptor for it: the message is not at fault.
    NotStarted(String),
}

impl Command {
    pub(crate) fn new(text: &str, apart: bool, children: Children) -> Self {
        Self { text: text.to_owned(), apart, children }
    }

    /// Runs it with the payload on its stdin. Dropped, it kills what it runs.
    pub(crate) async fn run(&self, delivery: &Delivery) -> Outcome {
        match self.try_run(delivery).await {
            Ok((status, words)) => judge(status, &words),
            Err(error) if is_exhausted(&error) => Outcome::NotStarted(error.to_string()),
            Err(error) => Outcome::Failed(format!("the command could not be run: {error}")),
        }
    }

    async fn try_run(&self, delivery: &Delivery) -> std::io::Result<(ExitStatus, Vec<u8>)> {
        let mut command = tokio::process::Command::new("sh");
        command.arg("-c").arg(&self.text).stdin(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if self.apart {
            command.stdout(Stdio::from(std::io::stderr().as_fd().try_clone_to_owned()?));
        }
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(environment::PREFIX.as_bytes()))
        {
            command.env_remove(name);
        }
        let mut child = command.envs(environment::variables(delivery)).kill_on_drop(true).spawn()?;
        let running = child.id().and_then(|process| self.children.started(process));
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let mut words = Vec::new();
        let status = {
            let mut listening = std::pin::pin!(listen(stderr, &mut words));
            let mut feeding = std::pin::pin!(feed(stdin, delivery.payload().clone()));
            let (mut fed, mut silent) = (false, false);
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status?,
                    () = &mut feeding, if !fed => fed = true,
                    () = &mut listening, if !silent => silent = true,
                }
            };
            if !silent {
                // What is left running says nothing about this delivery.
                let _ = tokio::time::timeout(LAST_WORDS, listening).await;
            }
            status
        };
        running.into_iter().for_each(crate::children::Running::ended);
        Ok((status, words))
    }
}

/// Writes the payload and closes the pipe. A command need not read it.
async fn feed(stdin: Option<ChildStdin>, payload: Bytes) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(&payload).await;
    }
}

/// Passes stderr on and keeps its tail.
async fn listen(stderr: Option<ChildStderr>, tail: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        tail.extend(&buffer[..read]);
        tail.drain(..tail.len().saturating_sub(TAIL));
        // Nobody is left to be told that stderr is gone.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), &buffer[..read]);
    }
}

fn is_exhausted(error: &std::io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}

fn judge(status: ExitStatus, words: &[u8]) -> Outcome {
    let words = String::from_utf8_lossy(words);
    let reason = match (ended(status), words.trim()) {
        (how, "") => how,
        (how, words) => format!("{how}: {words}"),
    };
    match status.code() {
        Some(0) => Outcome::Done,
        Some(REJECTED) => Outcome::Rejected(reason),
        _ => Outcome::Failed(reason),
    }
}

fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn what_the_machine_lacks_is_not_the_messages_fault() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM] {
            assert!(is_exhausted(&errno.into()), "{errno}");
        }
        assert!(!is_exhausted(&Errno::TOOBIG.into()), "its headers are too long for an environment");
    }

    #[test]
    fn the_exit_status_is_the_verdict_and_the_tail_of_stderr_the_reason() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(judge(exited(0), b"noise"), Outcome::Done);
        assert_eq!(
            judge(exited(65), b"no such customer\n"),
            Outcome::Rejected("exit status 65: no such customer".into())
        );
        assert_eq!(judge(exited(3), b""), Outcome::Failed("exit status 3".into()));
        assert_eq!(judge(ExitStatus::from_raw(9), b""), Outcome::Failed("signal 9".into()));
    }
}

//! What `up` remembers of a broker, so that a later `down` finds it.

use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Broker;
use crate::workspace::Workspace;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Record {
    pub(super) port: u16,
    pub(super) how: How,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    Native { pid: u32 },
    Compose,
}

impl Display for How {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native { pid } => write!(formatter, "native, pid {pid}"),
            Self::Compose => formatter.write_str("Docker Compose"),
        }
    }
}

impl Record {
    pub(super) fn load(broker: Broker, workspace: &Workspace) -> anyhow::Result<Option<Self>> {
        let file = file(broker, workspace);
        match fs::read(&file) {
            Ok(text) => {
                let record = serde_json::from_slice(&text);
                record.map(Some).with_context(|| format!("{} is damaged; remove it", file.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    pub(super) fn save(&self, broker: Broker, workspace: &Workspace) -> anyhow::Result<()> {
        fs::create_dir_all(folder(broker, workspace))?;
        fs::write(file(broker, workspace), serde_json::to_vec(self)?)?;
        Ok(())
    }

    pub(super) fn remove(broker: Broker, workspace: &Workspace) -> anyhow::Result<()> {
        match fs::remove_file(file(broker, workspace)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether what is recorded still is the server that we started: a process id may have gone to somebody else.
    pub(super) fn is_ours(&self, broker: Broker) -> bool {
        match self.how {
            How::Native { pid } => is_server(broker, pid, self.port),
            How::Compose => true,
        }
    }
}

/// What a broker keeps between runs: record, log, data.
pub(super) fn folder(broker: Broker, workspace: &Workspace) -> PathBuf {
    workspace.target().join("brokers").join(broker.name())
}

/// Whether the process lives and is this broker's server on this port. One that ended and was not collected by its
/// parent has no command line, so it is not.
pub(super) fn is_server(broker: Broker, pid: u32, port: u16) -> bool {
    command_line(pid).is_some_and(|line| (broker.recipe().recognises)(&line, port))
}

fn file(broker: Broker, workspace: &Workspace) -> PathBuf {
    folder(broker, workspace).join("server.json")
}

fn command_line(pid: u32) -> Option<String> {
    if Path::new("/proc/self/cmdline").exists() {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        return Some(String::from_utf8_lossy(&bytes).replace('\0', " "));
    }
    let listed = Command::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).output().ok()?;
    Some(String::from_utf8_lossy(&listed.stdout).into_owned())
}

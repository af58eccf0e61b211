//! What `up` remembers of a broker, so that a later `down` finds it.

use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Broker;
use super::ports::loopback;
use crate::workspace::Workspace;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Record {
    pub(super) how: How,
    /// Of a broker that comes in several.
    pub(super) version: Option<String>,
    pub(super) nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    Native,
    Compose,
}

/// A process of a broker.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Node {
    /// The first serves clients.
    pub(super) ports: Vec<u16>,
    /// None in a container.
    pub(super) pid: Option<u32>,
}

impl Display for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.how {
            How::Native => "native",
            How::Compose => "Docker Compose",
        })?;
        if let Some(version) = &self.version {
            write!(formatter, ", version {version}")?;
        }
        let pids: Vec<String> = self.nodes.iter().filter_map(|node| Some(node.pid?.to_string())).collect();
        match pids.len() {
            0 => Ok(()),
            1 => write!(formatter, ", pid {}", pids[0]),
            _ => write!(formatter, ", pids {}", pids.join(", ")),
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

    pub(super) fn url(&self, broker: Broker) -> String {
        let ports: Vec<&[u16]> = self.nodes.iter().map(|node| &node.ports[..]).collect();
        (broker.recipe().url)(&ports)
    }

    /// How many of the nodes answer.
    pub(super) async fn answering(&self, broker: Broker) -> usize {
        let mut answering = 0;
        for node in &self.nodes {
            answering += usize::from(broker.answers(loopback(node.port())).await);
        }
        answering
    }

    /// Whether what is recorded still is the server that we started: a process id may have gone to somebody else.
    pub(super) fn is_ours(&self, broker: Broker) -> bool {
        match self.how {
            How::Native => self.living(broker).next().is_some(),
            How::Compose => true,
        }
    }

    /// The processes that run and still are those that we started.
    pub(super) fn living(&self, broker: Broker) -> impl Iterator<Item = (&Node, u32)> {
        let with_pid = self.nodes.iter().filter_map(|node| Some((node, node.pid?)));
        with_pid.filter(move |(node, pid)| is_server(broker, *pid, node.port()))
    }
}

impl Node {
    /// Where it serves clients.
    pub(super) fn port(&self) -> u16 {
        self.ports[0]
    }
}

/// What a broker keeps between runs: record, logs, data, downloads.
pub(super) fn folder(broker: Broker, workspace: &Workspace) -> PathBuf {
    workspace.target().join("brokers").join(broker.name())
}

/// Whether the process lives and is this broker's server on this port. One that ended and was not collected by its
/// parent has no command line, so it is not.
fn is_server(broker: Broker, pid: u32, port: u16) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn node(pid: Option<u32>) -> Node {
        Node { ports: vec![19_092, 19_093], pid }
    }

    #[test]
    fn a_record_says_what_runs() {
        let record = |how, version: Option<&str>, nodes| Record { how, version: version.map(str::to_owned), nodes };
        for (record, said) in [
            (record(How::Native, None, vec![node(Some(7))]), "native, pid 7"),
            (record(How::Compose, Some("4.0.0"), vec![node(None)]), "Docker Compose, version 4.0.0"),
            (
                record(How::Native, Some("4.0.0"), vec![node(Some(7)), node(Some(8))]),
                "native, version 4.0.0, pids 7, 8",
            ),
        ] {
            assert_eq!(record.to_string(), said);
            let text = serde_json::to_vec(&record).unwrap();
            assert_eq!(serde_json::from_slice::<Record>(&text).unwrap(), record);
        }
    }

    #[test]
    fn a_process_of_somebody_else_is_not_ours() {
        // This test's own process: it lives and is neither server.
        let record = Record { how: How::Native, version: None, nodes: vec![node(Some(std::process::id()))] };
        for broker in Broker::ALL {
            assert!(!record.is_ours(*broker), "{}", broker.name());
        }
    }
}

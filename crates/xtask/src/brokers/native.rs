//! A server of this machine, started as an ordinary process that outlives us.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::recipe::POLL;
use super::record::{self, How, Node, Record};
use super::turn::turn_at_ports;
use super::{Broker, Wanted, ports};
use crate::workspace::Workspace;

const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Of a log, when its server does not start.
const SHOWN_LINES: usize = 10;

/// Where the processes of a broker are to run, and from what.
pub(super) struct Site {
    /// The program, or the folder that it is started from.
    pub(super) installed: PathBuf,
    /// Exists and is empty.
    pub(super) data: PathBuf,
    /// The ports of each process.
    pub(super) nodes: Vec<Vec<u16>>,
}

/// Starts a server and records it. One that is not recorded, since this failed or was dropped, is killed.
pub(super) async fn start(broker: Broker, wanted: &Wanted, workspace: &Workspace) -> anyhow::Result<Record> {
    let version = wanted.version(broker);
    let installed = broker.install(version.as_deref(), workspace).await?;
    let folder = record::folder(broker, workspace);
    let data = folder.join("data");
    // Every start is a fresh broker: what an earlier run left behind must not reach the tests.
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&data)?;
    let recipe = broker.recipe();
    let _turn = turn_at_ports(broker).await?;
    let free = ports::free(recipe.first_port, wanted.nodes() * recipe.ports)?;
    let (clients, _) = free.split_at(wanted.nodes());
    // Clients' ports first, so that they follow each other in a URL.
    let node = |index| free.iter().copied().skip(index).step_by(wanted.nodes()).collect();
    let site = Site { installed, data, nodes: (0..wanted.nodes()).map(node).collect() };
    let commands = broker.commands(&site).await?;

    let logs: Vec<PathBuf> = match commands.len() {
        1 => vec![folder.join("server.log")],
        nodes => (1..=nodes).map(|number| folder.join(format!("server-{number}.log"))).collect(),
    };
    let mut servers = Unrecorded { broker, nodes: site.nodes.clone(), processes: Vec::new() };
    for (command, log) in commands.into_iter().zip(&logs) {
        servers.processes.push(spawn(command, log)?);
    }
    let up = broker.wait_until_it_answers(clients, || servers.all_run()).await;
    if let Err(error) = up {
        drop(servers);
        return Err(logs.iter().rev().fold(error, |error, log| error.context(end(log))));
    }
    let pids = servers.processes.iter().map(|server| Some(server.id()));
    let nodes = site.nodes.into_iter().zip(pids).map(|(ports, pid)| Node { ports, pid }).collect();
    let record = Record { how: How::Native, version, nodes };
    record.save(broker, workspace)?;
    servers.recorded();
    Ok(record)
}

fn spawn(mut command: Command, log_file: &Path) -> anyhow::Result<Child> {
    let log = File::create(log_file)?;
    command
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        // Ctrl-C at the terminal ends our steps, not the broker under them.
        .process_group(0)
        .spawn()
        .with_context(|| format!("{} did not start", command.get_program().display()))
}

/// The last lines of a log.
fn end(log_file: &Path) -> String {
    let log = fs::read_to_string(log_file).unwrap_or_default();
    // Where it happened says less than what happened.
    let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("\tat ")).collect();
    let tail = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    format!("{} ends:\n{}\n", log_file.display(), tail.join("\n"))
}

/// Processes of a server that nobody else knows of yet: killed when dropped.
struct Unrecorded {
    broker: Broker,
    /// Their ports.
    nodes: Vec<Vec<u16>>,
    processes: Vec<Child>,
}

impl Unrecorded {
    fn all_run(&mut self) -> anyhow::Result<()> {
        for server in &mut self.processes {
            if let Some(status) = server.try_wait()? {
                bail!("the server (pid {}) ended with {status}", server.id());
            }
        }
        Ok(())
    }

    /// Whoever reads the record ends them.
    fn recorded(mut self) {
        self.processes.clear();
        self.nodes.clear();
    }
}

impl Drop for Unrecorded {
    fn drop(&mut self) {
        for server in &mut self.processes {
            // Both fail only when it has ended.
            let _ = server.kill();
            let _ = server.wait();
        }
        for ports in &self.nodes {
            self.broker.end_helpers(ports);
        }
    }
}

/// Ends the processes that are known to be ours: in order, by force when they do not listen.
pub(super) async fn stop(broker: Broker, record: &Record) -> anyhow::Result<()> {
    let living = record.living(broker).count();
    // The rest of a cluster may wait for a majority before it ends, and waits for ever; nobody needs its data.
    let signal = if living < record.nodes.len() { Signal::KILL } else { Signal::TERM };
    for (_, pid) in record.living(broker) {
        let process = process(pid)?;
        kill_process(process, signal)?;
        // A frozen process acts on it only once it goes on.
        let _ = kill_process(process, Signal::CONT);
    }
    let deadline = Instant::now() + STOP_LIMIT;
    while let Some((_, pid)) = record.living(broker).next() {
        if Instant::now() > deadline {
            for (_, pid) in record.living(broker) {
                kill_process(process(pid)?, Signal::KILL)?;
            }
            bail!("pid {pid} did not end in {STOP_LIMIT:?} and was killed");
        }
        sleep(POLL).await;
    }
    Ok(())
}

fn process(pid: u32) -> anyhow::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> (Unrecorded, u32) {
        let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        (Unrecorded { broker: Broker::Redis, nodes: Vec::new(), processes: vec![child] }, pid)
    }

    fn lives(pid: u32) -> bool {
        kill_process(process(pid).unwrap(), Signal::CONT).is_ok()
    }

    #[test]
    fn a_server_is_killed_until_it_is_recorded() {
        let (dropped, pid) = server();
        assert!(lives(pid));
        drop(dropped);
        assert!(!lives(pid));

        let (recorded, pid) = server();
        recorded.recorded();
        assert!(lives(pid));
        kill_process(process(pid).unwrap(), Signal::KILL).unwrap();
    }
}

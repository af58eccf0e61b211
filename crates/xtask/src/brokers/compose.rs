//! A broker in a container, where a Docker engine answers.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::bail;

use super::record::{How, Node, Record};
use super::{Broker, Wanted, ports};
use crate::process::{self, Echo};
use crate::workspace::Workspace;

/// Pulling an image over a slow line takes its time.
const START_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const DOWN: [&str; 2] = ["down", "--volumes"];
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Whether an engine answers, not only the command; and whether that command knows Compose.
pub(super) async fn engine_answers() -> bool {
    process::succeeds("docker", &["info"], ASK_LIMIT).await
        && process::succeeds("docker", &["compose", "version"], ASK_LIMIT).await
}

/// Starts a container and records it. One that is not recorded, since this failed or was dropped, is removed.
pub(super) async fn start(broker: Broker, wanted: &Wanted, workspace: &Workspace) -> anyhow::Result<Record> {
    let recipe = broker.recipe();
    let ports = ports::free(recipe.first_port, recipe.port_variables.len())?;
    let version = wanted.version(broker);
    let unrecorded = Unrecorded { broker, workspace };
    let mut command = command(broker, workspace, &["up", "--detach", "--wait"]);
    command.envs(recipe.port_variables.iter().zip(ports.iter().map(u16::to_string)));
    if let (Some(versions), Some(version)) = (&recipe.versions, &version) {
        command.env(versions.variable, version);
    }
    succeed(command, START_LIMIT).await?;
    broker.wait_until_it_answers(&ports[..1], || Ok(())).await?;
    let record = Record { how: How::Compose, version, nodes: vec![Node { ports, pid: None }] };
    record.save(broker, workspace)?;
    std::mem::forget(unrecorded);
    Ok(record)
}

pub(super) async fn stop(broker: Broker, workspace: &Workspace) -> anyhow::Result<()> {
    succeed(command(broker, workspace, &DOWN), STOP_LIMIT).await
}

async fn succeed(command: Command, limit: Duration) -> anyhow::Result<()> {
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let finished = process::run(command.into(), limit, Echo::Hidden).await?;
    if !finished.success() {
        bail!("docker {}: {}", arguments.join(" "), finished.end());
    }
    Ok(())
}

fn command(broker: Broker, workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command
        .args(["compose", "--project-name", &format!("zephcast-{}", broker.name()), "--file"])
        .arg(workspace.root().join(broker.recipe().compose_file))
        .args(arguments);
    command
}

/// A container that nobody else knows of yet: removed when dropped, and waited for.
struct Unrecorded<'a> {
    broker: Broker,
    workspace: &'a Workspace,
}

impl Drop for Unrecorded<'_> {
    fn drop(&mut self) {
        let mut down = command(self.broker, self.workspace, &DOWN);
        // A Ctrl-C at the terminal is the reason to remove it, not to stop removing it.
        let _ = down.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).status();
    }
}

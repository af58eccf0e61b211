//! A broker in a container, where a Docker engine answers.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::bail;

use super::Broker;
use super::record::{How, Record};
use crate::process::{self, Echo};
use crate::workspace::Workspace;

/// Pulling an image over a slow line takes its time.
const START_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Whether an engine answers, not only the command; and whether that command knows Compose.
pub(super) async fn engine_answers() -> bool {
    process::succeeds("docker", &["info"], ASK_LIMIT).await
        && process::succeeds("docker", &["compose", "version"], ASK_LIMIT).await
}

/// Starts a container and records it. One that is not recorded, since this failed or was dropped, is removed.
pub(super) async fn start(broker: Broker, workspace: &Workspace) -> anyhow::Result<Record> {
    let port = broker.free_port()?;
    let unrecorded = Unrecorded { broker, workspace };
    compose(broker, workspace, port, &["up", "--detach", "--wait"], START_LIMIT).await?;
    broker.wait_until_it_answers(port, || Ok(())).await?;
    let record = Record { port, how: How::Compose };
    record.save(broker, workspace)?;
    std::mem::forget(unrecorded);
    Ok(record)
}

pub(super) async fn stop(broker: Broker, workspace: &Workspace) -> anyhow::Result<()> {
    compose(broker, workspace, broker.recipe().first_port, &["down", "--volumes"], STOP_LIMIT).await
}

async fn compose(
    broker: Broker,
    workspace: &Workspace,
    port: u16,
    arguments: &[&str],
    limit: Duration,
) -> anyhow::Result<()> {
    let command = command(broker, workspace, port, arguments);
    let finished = process::run(command.into(), limit, Echo::Hidden).await?;
    if !finished.success() {
        bail!("docker compose {}: {}", arguments.join(" "), finished.end());
    }
    Ok(())
}

fn command(broker: Broker, workspace: &Workspace, port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command
        .args(["compose", "--project-name", &format!("zephcast-{}", broker.name()), "--file"])
        .arg(workspace.root().join(broker.recipe().compose_file))
        .args(arguments)
        .env(broker.recipe().port_variable, port.to_string());
    command
}

/// A container that nobody else knows of yet: removed when dropped, and waited for.
struct Unrecorded<'a> {
    broker: Broker,
    workspace: &'a Workspace,
}

impl Drop for Unrecorded<'_> {
    fn drop(&mut self) {
        let port = self.broker.recipe().first_port;
        let mut down = command(self.broker, self.workspace, port, &["down", "--volumes"]);
        // A Ctrl-C at the terminal is the reason to remove it, not to stop removing it.
        let _ = down.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).status();
    }
}

//! A broker in a container, where a Docker engine answers.

use std::time::Duration;

use anyhow::bail;
use tokio::process::Command;

use super::{
    Broker,
    record::{How, Record},
};
use crate::{
    process::{self, Echo},
    workspace::Workspace,
};

/// Pulling an image over a slow line takes its time.
const START_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Whether an engine answers, not only the command; and whether that command knows Compose.
pub(super) async fn engine_answers() -> bool {
    process::succeeds("docker", &["info"], ASK_LIMIT).await
        && process::succeeds("docker", &["compose", "version"], ASK_LIMIT).await
}

pub(super) async fn start(broker: Broker, workspace: &Workspace) -> anyhow::Result<Record> {
    let port = broker.free_port()?;
    compose(broker, workspace, port, &["up", "--detach", "--wait"], START_LIMIT).await?;
    broker.wait_until_it_answers(port, || Ok(())).await?;
    Ok(Record { port, how: How::Compose })
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
    let mut command = Command::new("docker");
    command
        .args(["compose", "--project-name", &format!("zephcast-{}", broker.name()), "--file"])
        .arg(workspace.root().join(broker.recipe().compose_file))
        .args(arguments)
        .env(broker.recipe().port_variable, port.to_string());
    let finished = process::run(command, limit, Echo::Hidden).await?;
    if !finished.success() {
        bail!("docker compose {}: {}", arguments.join(" "), finished.end());
    }
    Ok(())
}

//! Runs the bench program of `integration-tests` with the servers it needs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use crate::arguments::{Only, Output};
use crate::brokers::{Broker, with_brokers};
use crate::process::{self, Echo};
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(3600);

pub(crate) async fn run(broker: Option<Only>, output: Output, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::read()?;
    let needed: Vec<Broker> = match broker {
        Some(only) => only.server().into_iter().collect(),
        None => Broker::ALL.to_vec(),
    };
    with_brokers(&needed, &workspace, async |session| {
        for server in &needed {
            if let Err(reason) = session.url(*server) {
                bail!("{}: {reason}", server.name());
            }
        }
        let fixed = ["run", "--quiet", "--release", "--package", "integration-tests", "--bin", "bench", "--"];
        let mut command = workspace.cargo(&fixed);
        command.args(broker.map(Only::name)).args(["--output", output.name()]).args(arguments);
        session.tell(&mut command);
        let finished = process::run(command, LIMIT, Echo::Shown).await?;
        if !finished.success() {
            bail!("the bench program: {}", finished.end());
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

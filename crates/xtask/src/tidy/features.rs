//! Each feature of each published package builds alone, without a warning.

use std::{process::Stdio, time::Duration};

use anyhow::Context;
use tokio::time::timeout;

use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(20 * 60);

pub(super) async fn problems(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for package in workspace.published() {
        for feature in package.features.keys().filter(|feature| *feature != "default") {
            eprintln!("checking {} with feature {feature} alone", package.name);
            let mut command = workspace.cargo(&["check", "--quiet", "--no-default-features"]);
            command.args(["--package", package.name.as_str(), "--features", feature.as_str()]);
            command.stdin(Stdio::null()).kill_on_drop(true);
            let checked = timeout(LIMIT, command.output()).await.context("cargo check hangs")??;
            let said = String::from_utf8_lossy(&checked.stderr);
            if !checked.status.success() || said.contains("warning: ") {
                let how = if checked.status.success() { "builds with warnings" } else { "does not build" };
                problems.push(format!("{} {how} with its feature {feature} alone:\n{}", package.name, said.trim_end()));
            }
        }
    }
    Ok(problems)
}

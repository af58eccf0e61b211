//! Each published package builds with no feature and with each of its features alone, without a warning. But for those
//! that build a C library along, which changes none of our code.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;

use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(20 * 60);

pub(super) async fn problems(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for package in workspace.published() {
        let alone = package.features.keys().filter(|feature| *feature != "default" && !feature.ends_with("-vendored"));
        for feature in std::iter::once(None).chain(alone.map(Some)) {
            let with = feature.map_or("no feature".to_owned(), |feature| format!("its feature {feature} alone"));
            eprintln!("checking {} with {with}", package.name);
            let mut command = workspace.cargo(&["check", "--quiet", "--no-default-features"]);
            command.args(["--package", package.name.as_str()]);
            command.args(feature.iter().flat_map(|feature| ["--features", feature.as_str()]));
            command.stdin(Stdio::null()).kill_on_drop(true);
            let checked = timeout(LIMIT, command.output()).await.context("cargo check hangs")??;
            let said = String::from_utf8_lossy(&checked.stderr);
            if !checked.status.success() || said.contains("warning: ") {
                let how = if checked.status.success() { "builds with warnings" } else { "does not build" };
                problems.push(format!("{} {how} with {with}:\n{}", package.name, said.trim_end()));
            }
        }
    }
    Ok(problems)
}

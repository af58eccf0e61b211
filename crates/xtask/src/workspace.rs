//! What cargo knows about this workspace.

use std::path::PathBuf;

use anyhow::Context;
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// Every driver, and nothing that has to be built twice: not all features, since one of Kafka's builds OpenSSL along.
pub(crate) const EVERYTHING: &str = "zephcast/full";

/// The packages of this workspace, without their dependencies.
pub(crate) struct Workspace {
    pub(crate) metadata: Metadata,
}

impl Workspace {
    /// Asks about the workspace around the current folder, as cargo itself does.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new().no_deps().exec().context("cargo metadata")?;
        Ok(Self { metadata })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.metadata.workspace_root.clone().into_std_path_buf()
    }

    /// Where build results lie, and what this program keeps between its runs.
    pub(crate) fn target(&self) -> PathBuf {
        self.metadata.target_directory.clone().into_std_path_buf()
    }

    pub(crate) fn packages(&self) -> Vec<&Package> {
        self.metadata.workspace_packages()
    }

    /// The packages meant for the registry.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages().into_iter().filter(|package| package.publish.as_ref().is_none_or(|to| !to.is_empty()))
    }

    /// A cargo command in the root of the workspace.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> tokio::process::Command {
        // `cargo run` says which cargo started us, so that a toolchain override reaches all steps.
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).current_dir(self.root());
        command
    }
}

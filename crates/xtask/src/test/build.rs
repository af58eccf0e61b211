//! One build of the whole workspace, so that every step runs the same code and nothing is compiled twice.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use cargo_metadata::{Message, Package, PackageId, Target};

use crate::process::{self, Echo};
use crate::workspace::{EVERYTHING, Workspace};

const LIMIT: Duration = Duration::from_secs(40 * 60);

/// A target of a package, as the plan and the build both know it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct TargetId {
    pub(super) package: String,
    pub(super) kind: String,
    pub(super) name: String,
}

impl TargetId {
    pub(super) fn of(package: &PackageId, target: &Target) -> Self {
        let kind = target.kind.first().map(ToString::to_string).unwrap_or_default();
        Self { package: package.repr.clone(), kind, name: target.name.clone() }
    }
}

/// The programs that were built.
pub(super) struct Build {
    /// Whether everything built; what did not is missing below.
    pub(super) complete: bool,
    tests: HashMap<TargetId, PathBuf>,
    programs: HashMap<TargetId, PathBuf>,
}

impl Build {
    pub(super) fn tests(&self, target: &TargetId) -> Option<&PathBuf> {
        self.tests.get(target)
    }

    pub(super) fn program_of(&self, target: &TargetId) -> Option<&PathBuf> {
        self.programs.get(target)
    }

    /// A binary by its name alone.
    pub(super) fn program(&self, name: &str) -> Option<&PathBuf> {
        let (_, path) = self.programs.iter().find(|(target, _)| target.kind == "bin" && target.name == name)?;
        Some(path)
    }
}

/// Builds as much as can be built: one broken crate must not hide how the others do.
pub(super) async fn run(workspace: &Workspace) -> anyhow::Result<Build> {
    let what = ["--workspace", "--features", EVERYTHING, "--lib", "--bins", "--tests", "--examples"];
    let how = ["--keep-going", "--message-format=json-render-diagnostics"];
    let mut command = workspace.cargo(&["build"]);
    command.args(what).args(how);
    let finished = process::run(command, LIMIT, Echo::Hidden).await?;
    let mut build = Build { complete: finished.success(), tests: HashMap::new(), programs: HashMap::new() };
    for message in Message::parse_stream(Cursor::new(&finished.stdout)) {
        let Message::CompilerArtifact(artifact) = message? else { continue };
        let Some(program) = artifact.executable else { continue };
        let target = TargetId::of(&artifact.package_id, &artifact.target);
        let programs = if artifact.profile.test { &mut build.tests } else { &mut build.programs };
        programs.insert(target, program.into_std_path_buf());
    }
    Ok(build)
}

/// The targets of a package that hold tests or run as examples.
pub(super) fn targets(package: &Package) -> impl Iterator<Item = (TargetId, &Target)> {
    package.targets.iter().map(|target| (TargetId::of(&package.id, target), target))
}

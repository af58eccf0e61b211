//! What there is to run, found by asking cargo. Names say what a target needs: a package that ends in a broker's name,
//! or a test target or example that begins with it or its driver's, runs against that broker alone; everything else needs
//! no server, and an example without a broker's name runs on every broker.

use std::path::PathBuf;

use cargo_metadata::{Package, Target};

use super::build::{self, TargetId};
use crate::arguments::Only;
use crate::brokers::Broker;
use crate::workspace::Workspace;

/// One row of the table.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: String,
    /// `None`: the embedded broker or no broker at all.
    pub(super) server: Option<Broker>,
    pub(super) runs: Vec<Run>,
}

impl Step {
    pub(super) fn against(&self) -> &'static str {
        self.server.map_or("memory", Broker::name)
    }
}

#[derive(Debug)]
pub(super) enum Run {
    /// `must_run`: no test at all is a failure.
    Tests {
        target: TargetId,
        folder: PathBuf,
        must_run: bool,
    },
    DocTests,
    ExampleByCargo {
        package: String,
        name: String,
    },
    ExampleOnServer {
        target: TargetId,
    },
}

pub(super) fn steps(workspace: &Workspace, only: Option<Only>) -> Vec<Step> {
    let packages = workspace.packages();
    let mut steps: Vec<Step> = packages.iter().flat_map(|package| test_steps(package)).collect();
    steps.push(Step { name: "documentation examples".to_owned(), server: None, runs: vec![Run::DocTests] });
    steps.extend(packages.iter().flat_map(|package| example_steps(package)));
    if let Some(only) = only {
        steps.retain(|step| step.server == only.server());
    }
    steps
}

/// A step for a package's unit tests, and one for each of its test targets.
fn test_steps(package: &Package) -> Vec<Step> {
    let folder = package.manifest_path.parent().map(|folder| folder.as_std_path().to_owned()).unwrap_or_default();
    let run = |target: TargetId, must_run| Run::Tests { target, folder: folder.clone(), must_run };
    let server = Broker::ALL.iter().copied().find(|broker| package.name.ends_with(&format!("-{}", broker.driver())));
    let tested = || build::targets(package).filter(|(_, target)| target.test && !target.is_example());
    let units: Vec<Run> =
        tested().filter(|(_, target)| !target.is_test()).map(|(target, _)| run(target, false)).collect();
    let unit_step = Step { name: format!("{}: unit tests", package.name), server, runs: units };
    let target_steps = tested().filter(|(_, target)| target.is_test()).map(|(id, target)| Step {
        name: format!("{}: {}", package.name, target.name),
        server: named(target).or(server),
        runs: vec![run(id, true)],
    });
    let units = (!unit_step.runs.is_empty()).then_some(unit_step);
    units.into_iter().chain(target_steps).collect()
}

fn example_steps(package: &Package) -> Vec<Step> {
    let mut steps = Vec::new();
    for (id, target) in build::targets(package).filter(|(_, target)| target.is_example()) {
        let name = format!("example {}", target.name);
        // First: `cargo run` below replaces the program by one with the default features alone.
        let servers = match named(target) {
            Some(only) => vec![only],
            None if target.name.starts_with("memory") => Vec::new(),
            None => Broker::ALL.to_vec(),
        };
        steps.extend(servers.into_iter().map(|broker| Step {
            name: name.clone(),
            server: Some(broker),
            runs: vec![Run::ExampleOnServer { target: id.clone() }],
        }));
        if named(target).is_none() && target.required_features.is_empty() {
            let run = Run::ExampleByCargo { package: package.name.to_string(), name: target.name.clone() };
            steps.push(Step { name: name.clone(), server: None, runs: vec![run] });
        }
    }
    steps
}

fn named(target: &Target) -> Option<Broker> {
    let first = target.name.split('_').next().unwrap_or_default();
    Broker::ALL.iter().copied().find(|broker| first == broker.driver() || first == broker.name())
}

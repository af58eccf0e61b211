//! Who may depend on whom: core on no driver, a driver on core alone, the command on the umbrella alone, this program on
//! nobody here, and nobody on a client that was not asked for.

use std::time::Duration;

use anyhow::bail;
use cargo_metadata::{DependencyKind, Package};

use crate::process::{self, Echo};
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(120);

/// The drivers, each with the client library that it may pull.
pub(super) const DRIVERS: [(&str, &[&str]); 4] = [
    ("zephcast-memory", &[]),
    ("zephcast-redis", &["fred"]),
    ("zephcast-rabbit", &["lapin"]),
    ("zephcast-kafka", &["rdkafka", "rdkafka-sys"]),
];

pub(super) async fn problems(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let packages = workspace.packages();
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut problems: Vec<String> =
        packages.iter().flat_map(|package| forbidden(&package.name, &dependencies(package, &names))).collect();
    for (driver, clients) in DRIVERS.into_iter().filter(|(driver, _)| names.contains(driver)) {
        problems.extend(foreign(driver, clients, &tree(workspace, driver, &["--all-features"]).await?));
    }
    // Both as their users get them when they say nothing.
    for package in ["zephcast-core", "zephcast"] {
        problems.extend(foreign(package, &[], &tree(workspace, package, &[]).await?));
    }
    Ok(problems)
}

/// The packages of this workspace that a package needs to be built; what only its tests need may go round in circles.
fn dependencies<'a>(package: &'a Package, names: &[&str]) -> Vec<&'a str> {
    let needed = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    needed.map(|dependency| dependency.name.as_str()).filter(|name| names.contains(name)).collect()
}

fn forbidden(package: &str, dependencies: &[&str]) -> Vec<String> {
    let driver = DRIVERS.iter().any(|(driver, _)| *driver == package);
    let allowed: &[&str] = match package {
        "zephcast-core" => &[],
        // The broken drivers that the cases must catch are wrappers of the embedded broker.
        "zephcast-conformance" => &["zephcast-core", "zephcast-memory"],
        _ if driver => &["zephcast-core"],
        // The command shows that the umbrella's surface is enough.
        "zephcast-cli" => &["zephcast"],
        // It must run also when nothing else here builds.
        "xtask" => &[],
        _ => return Vec::new(),
    };
    let wrong = dependencies.iter().filter(|dependency| !allowed.contains(dependency));
    wrong.map(|dependency| format!("{package} must not depend on {dependency}")).collect()
}

/// Client libraries in a tree that do not belong there.
fn foreign(package: &str, allowed: &[&str], tree: &str) -> Vec<String> {
    let clients = DRIVERS.iter().flat_map(|(_, clients)| *clients).filter(|client| !allowed.contains(client));
    let pulled = clients.filter(|client| tree.lines().any(|line| line.split(' ').next() == Some(**client)));
    pulled.map(|client| format!("{package} pulls {client} (cargo tree -p {package} -i {client} shows how)")).collect()
}

async fn tree(workspace: &Workspace, package: &str, features: &[&str]) -> anyhow::Result<String> {
    let mut command = workspace.cargo(&["tree", "--quiet", "--package", package]);
    command.args(["--edges", "normal,build", "--prefix", "none", "--target", "all"]).args(features);
    let finished = process::run(command, LIMIT, Echo::Hidden).await?;
    if !finished.success() {
        bail!("cargo tree --package {package}: {}", finished.end());
    }
    Ok(finished.stdout)
}

#[cfg(test)]
mod tests {
    use super::{forbidden, foreign};

    #[test]
    fn layers_are_one_way() {
        assert_eq!(
            forbidden("zephcast-core", &["zephcast-memory"]),
            ["zephcast-core must not depend on zephcast-memory"]
        );
        assert_eq!(forbidden("zephcast-redis", &["zephcast-core", "zephcast-memory"]).len(), 1);
        assert!(forbidden("zephcast-redis", &["zephcast-core"]).is_empty());
        assert!(forbidden("zephcast", &["zephcast-core", "zephcast-redis"]).is_empty());
        assert!(forbidden("zephcast-cli", &["zephcast"]).is_empty());
        assert_eq!(forbidden("zephcast-cli", &["zephcast", "zephcast-core"]).len(), 1);
        assert_eq!(forbidden("xtask", &["zephcast"]), ["xtask must not depend on zephcast"]);
    }

    #[test]
    fn a_client_is_found_by_its_whole_name() {
        let tree = "zephcast-redis v0.1.0 (/somewhere)\nfred v10.1.0\nlapin-like v1.0.0\nrdkafka-sys v4.10.0\n";
        let problems = foreign("zephcast-redis", &["fred"], tree);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("rdkafka-sys"));
    }
}

//! Drivers have the same files by the same names, and the papers name those.

use std::fs;

use super::layers::DRIVERS;
use crate::workspace::Workspace;

/// In the order in which they are read.
const FILES: [&str; 10] = ["lib", "config", "url", "driver", "sink", "intake", "member", "settler", "admin", "error"];
/// Where they are listed.
const PAPERS: [&str; 2] = ["CONTRIBUTING.md", "docs/adding-a-broker.md"];

pub(super) fn problems(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let root = workspace.root();
    let mut problems = Vec::new();
    for package in workspace.packages() {
        let is_driver = DRIVERS.iter().any(|(driver, _)| *driver == package.name.as_str());
        let Some(folder) = package.manifest_path.parent().filter(|_| is_driver) else { continue };
        let missing = FILES.iter().filter(|file| !folder.join("src").join(format!("{file}.rs")).is_file());
        problems.extend(missing.map(|file| format!("{} has no src/{file}.rs, as every driver has", package.name)));
    }
    for paper in PAPERS {
        let text = fs::read_to_string(root.join(paper))?;
        problems.extend(unlisted(&text).map(|list| format!("{paper} does not list a driver's files: {list}")));
    }
    Ok(problems)
}

/// The list, if the paper lacks it.
fn unlisted(paper: &str) -> Option<String> {
    let list = format!("`{}`", FILES.join(" "));
    (!paper.contains(&list)).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::{FILES, unlisted};

    #[test]
    fn a_paper_lists_all_files_in_order() {
        assert_eq!(unlisted(&format!("Files: `{}`.", FILES.join(" "))), None);
        assert!(unlisted("Files: `lib config url`.").is_some_and(|list| list.contains("settler")));
    }
}

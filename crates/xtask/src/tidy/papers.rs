//! Every `cargo` command in a code block of the papers, and in the first line of an example, names something that exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use cargo_metadata::{Package, Target};
use clap::Parser;

use crate::arguments::Arguments;
use crate::workspace::Workspace;

/// Subcommands of cargo that papers may show besides those that are looked into.
const KNOWN: [&str; 9] = ["add", "bench", "build", "check", "clippy", "deny", "doc", "fmt", "tree"];

pub(super) fn problems(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let (root, packages) = (workspace.root(), workspace.packages());
    let mut problems = Vec::new();
    for file in papers(workspace)? {
        let name = file.strip_prefix(&root).unwrap_or(&file).display();
        let commands = commands(&fs::read_to_string(&file)?);
        if commands.is_empty() && file == root.join("README.md") {
            problems.push(format!("{name} shows no cargo command"));
        }
        let wrong = commands.iter().filter_map(|command| Some((command, problem(command, &packages)?)));
        problems.extend(wrong.map(|(command, what)| format!("{name}: `{}`: {what}", command.join(" "))));
    }
    let examples = packages.iter().flat_map(|package| &package.targets).filter(|target| target.is_example());
    for example in examples {
        let text = fs::read_to_string(&example.src_path)?;
        let what = match first_command(&text) {
            Some(command) if values(&words(&command), &["--example"]) == [example.name.as_str()] => {
                problem(&command, &packages)
            }
            _ => Some("its first line is not the command that runs it".to_owned()),
        };
        problems.extend(what.map(|what| format!("example {}: {what}", example.name)));
    }
    Ok(problems)
}

/// Those at the root, those of the packages, and the folder `docs`.
fn papers(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    let root = workspace.root();
    let packages = workspace.packages();
    let folders = packages.iter().filter_map(|package| package.manifest_path.parent());
    let folders = folders.map(|folder| folder.as_std_path().to_owned());
    let mut papers = Vec::new();
    for folder in [root.clone(), root.join("docs")].into_iter().chain(folders) {
        for entry in fs::read_dir(&folder)? {
            papers.push(entry?.path());
        }
    }
    papers.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    papers.sort_unstable();
    Ok(papers)
}

/// The command that an example's first line shows.
fn first_command(example: &str) -> Option<Vec<String>> {
    let command = example.lines().next()?.strip_prefix("//! `")?.strip_suffix('`')?;
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    words.first().is_some_and(|word| word == "cargo").then_some(words)
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

/// The words of each line in a code block that calls cargo, after a prompt and variables if there are any.
fn commands(markdown: &str) -> Vec<Vec<String>> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in markdown.lines().map(str::trim) {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            let line = line.split(" # ").next().unwrap_or(line);
            let is_prefix = |word: &&str| *word == "$" || word.contains('=') && !word.starts_with('-');
            let words: Vec<String> = line.split_whitespace().skip_while(is_prefix).map(str::to_owned).collect();
            if words.first().is_some_and(|word| word == "cargo") {
                // What follows in a pipe or a list is another command.
                let own = words.iter().take_while(|word| !["|", "&&", "&", ";", ">"].contains(&word.as_str()));
                found.push(own.cloned().collect());
            }
        }
    }
    found
}

fn problem(command: &[String], packages: &[&Package]) -> Option<String> {
    let words = words(command);
    match &words[1..] {
        ["xtask", rest @ ..] => xtask_problem(rest),
        own @ ["run" | "test" | "install", ..] => selection_problem(own, packages),
        own @ [known, ..] if KNOWN.contains(known) => selection_problem(own, packages),
        [unknown, ..] => Some(format!("cargo {unknown} is unknown here")),
        [] => None,
    }
}

fn xtask_problem(words: &[&str]) -> Option<String> {
    let parsed = Arguments::try_parse_from(std::iter::once("cargo xtask").chain(words.iter().copied()));
    let error = parsed.err()?.to_string();
    Some(error.lines().next().unwrap_or("not understood").to_owned())
}

/// What a command selects must exist in the package that it names, or anywhere when it names none.
fn selection_problem(words: &[&str], packages: &[&Package]) -> Option<String> {
    let own = &words[..words.iter().position(|word| *word == "--").unwrap_or(words.len())];
    let mut selected: Vec<&Package> = packages.to_vec();
    if let Some(name) = values(own, &["-p", "--package"]).first() {
        // `cargo tree -i` and `cargo add` name packages of others.
        selected.retain(|package| package.name.as_str() == *name);
        if selected.is_empty() {
            return Some(format!("no package {name}"));
        }
    }
    let available: BTreeSet<&str> =
        selected.iter().flat_map(|package| package.features.keys()).map(String::as_str).collect();
    let features: Vec<&str> = values(own, &["-F", "--features"]).iter().flat_map(|list| list.split(',')).collect();
    let features: Vec<&str> = features.iter().map(|name| name.rsplit('/').next().unwrap_or(name)).collect();
    if own.first() != Some(&"add")
        && let Some(missing) = features.iter().find(|feature| !available.contains(**feature))
    {
        return Some(format!("no feature {missing}"));
    }
    for (option, is_kind) in KINDS {
        for name in values(own, &[option]) {
            let mut targets = selected.iter().flat_map(|package| &package.targets);
            let Some(target) = targets.find(|target| is_kind(target) && target.name == name) else {
                return Some(format!("no target for {option} {name}"));
            };
            let enabled = |feature: &String| features.contains(&feature.as_str()) || own.contains(&"--all-features");
            if let Some(missing) = target.required_features.iter().find(|feature| !enabled(feature)) {
                return Some(format!("{name} needs --features {missing}"));
            }
        }
    }
    None
}

type Kind = (&'static str, fn(&Target) -> bool);

const KINDS: [Kind; 4] = [
    ("--example", Target::is_example),
    ("--bin", Target::is_bin),
    ("--test", Target::is_test),
    ("--bench", Target::is_bench),
];

/// What follows an option, as the next word or after `=`.
fn values<'a>(words: &[&'a str], options: &[&str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if options.contains(word) {
            found.extend(words.get(index + 1).copied());
        } else if let Some((option, value)) = word.split_once('=')
            && options.contains(&option)
        {
            found.push(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{commands, first_command, papers, problem};
    use crate::workspace::Workspace;

    #[test]
    fn every_paper_is_read() {
        let workspace = Workspace::read().unwrap();
        let papers = papers(&workspace).unwrap();
        for name in ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "crates/zephcast-cli/README.md"] {
            assert!(papers.contains(&workspace.root().join(name)), "{name}");
        }
    }

    #[test]
    fn an_example_begins_with_its_command() {
        let command = ["cargo", "run", "--example", "a", "[URL]"].map(str::to_owned);
        assert_eq!(first_command("//! `cargo run --example a [URL]`\n//!\n"), Some(command.to_vec()));
        for text in ["", "//! An example.\n", "//! `cargo run`: an example\n", "\n//! `cargo run --example a`\n"] {
            assert_eq!(first_command(text), None, "{text}");
        }
    }

    fn problem_of(command: &str) -> Option<String> {
        let workspace = Workspace::read().unwrap();
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        problem(&words, &workspace.packages())
    }

    #[test]
    fn commands_are_found_in_code_blocks_only() {
        let markdown = "Run cargo nothing.\n```sh\n$ cargo run --example a # why\nRUST_LOG=debug cargo test | tail\nls\n```\ncargo no\n";
        assert_eq!(commands(markdown), [vec!["cargo", "run", "--example", "a"], vec!["cargo", "test"]]);
    }

    #[test]
    fn what_exists_passes_and_what_does_not_is_named() {
        for fine in [
            "cargo xtask test redis",
            "cargo xtask brokers up kafka --version 4.1.1 --nodes 3",
            "cargo xtask bench redis --output json",
            "cargo test -p xtask",
            "cargo run --package xtask --bin xtask -- --example anything",
            "cargo add zephcast --features redis",
            "cargo tree -p zephcast-redis",
        ] {
            assert_eq!(problem_of(fine), None, "{fine}");
        }
        for (wrong, named) in [
            ("cargo xtask tset", "tset"),
            ("cargo xtask brokers up rabbits", "rabbits"),
            ("cargo run --example no_such_example", "no_such_example"),
            ("cargo test -p zephcast-none", "zephcast-none"),
            ("cargo run -p zephcast --features=nothing", "nothing"),
            ("cargo frobnicate", "frobnicate"),
        ] {
            let problem = problem_of(wrong);
            assert!(problem.as_ref().is_some_and(|problem| problem.contains(named)), "{wrong}: {problem:?}");
        }
    }
}

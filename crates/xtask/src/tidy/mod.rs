//! `cargo xtask tidy`: the house rules that neither the compiler nor clippy can see.

mod drivers;
mod features;
mod files;
mod layers;
mod papers;
mod sections;
mod sizes;

use std::process::ExitCode;

use crate::process::{Interrupted, interruption};
use crate::workspace::Workspace;

/// Checks every rule, so that one run shows all that is wrong.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    tokio::select! {
        checked = check() => checked,
        interrupted = interruption() => Err(interrupted.map_or_else(|error| error, Interrupted::into)),
    }
}

async fn check() -> anyhow::Result<ExitCode> {
    let workspace = Workspace::read()?;
    let mut wrong = 0;
    let mut say = |rule: &str, problems: Vec<String>| {
        println!("{rule}: {}", if problems.is_empty() { "ok" } else { "WRONG" });
        for problem in &problems {
            println!("  {problem}");
        }
        wrong += problems.len();
    };
    say("sizes", sizes::problems(&workspace)?);
    say("sections of async functions", sections::problems(&workspace)?);
    say("commands in papers", papers::problems(&workspace)?);
    say("files of drivers", drivers::problems(&workspace)?);
    say("layers", layers::problems(&workspace).await?);
    say("features", features::problems(&workspace).await?);
    println!("tidy: {}", if wrong == 0 { "all well".to_owned() } else { format!("{wrong} to mend") });
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

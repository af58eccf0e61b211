//! `cargo xtask`: starts real brokers, runs everything that proves this workspace, and checks its house rules.
//!
//! Results go to stdout, progress to stderr.

#![allow(clippy::print_stdout, reason = "printing results is this program's purpose")]

mod arguments;
mod bench;
mod brokers;
mod process;
mod table;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, BrokersCommand, Command};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Brokers { command: BrokersCommand::Up { brokers, wanted } } => brokers::up(&brokers, &wanted).await,
        Command::Brokers { command: BrokersCommand::Down { brokers } } => brokers::down(&brokers).await,
        Command::Brokers { command: BrokersCommand::Status { brokers } } => brokers::status(&brokers).await,
        Command::Test { broker } => test::run(broker).await,
        Command::Tidy => tidy::run().await,
        Command::Bench { broker, output, arguments } => bench::run(broker, output, &arguments).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        if error.is::<process::Interrupted>() { ExitCode::from(130) } else { ExitCode::FAILURE }
    })
}

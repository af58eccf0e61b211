#![doc = include_str!("../README.md")]
//! # The code
//!
//! One file a command ([`publish`], [`consume`], [`group`], [`stream`], [`dead_letter`], [`check`], [`monitor`], [`bench`],
//! [`demo`]), its options in
//! [`args`], its records in [`output`], its end in [`exit`].

mod args;
mod bench;
mod check;
mod children;
mod confirm;
mod consume;
mod dead_letter;
#[cfg(feature = "memory")]
mod demo;
mod duration;
mod exit;
mod group;
mod lines;
mod monitor;
mod output;
mod pace;
mod publish;
mod signals;
mod start;
mod stream;

use std::io::IsTerminal;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use zephcast::Client;

use self::args::group::GroupCommand;
use self::args::{Cli, Command, Global};
use self::children::Children;
use self::exit::{Exit, Failure};
use self::output::Output;
use self::signals::Shutdown;

/// How long the connection may take to close once everything is done.
const CLOSE: Duration = Duration::from_secs(2);

fn main() {
    let cli = Cli::read();
    log(&cli.global);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match &runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(Failure::failed(error.to_string())),
    };
    let exit = result.unwrap_or_else(|failure| {
        output::complain(&failure);
        failure.exit
    });
    // Threads that wait for stdin or stdout have nobody left to wait for. The runtime is never dropped: it would wait
    // for them, and its listener hears a second signal until here.
    std::process::exit(exit as i32);
}

async fn run(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    let output = Output::new(&global)?;
    match &command {
        Command::Consume(arguments) => consume::check(arguments, global.output, output.stdout())?,
        Command::Stream(command) => stream::check(command)?,
        Command::Group(command) => group::check(command)?,
        Command::DeadLetter(command) => dead_letter::check(command)?,
        _ => {}
    }
    let children = Children::default();
    let mut shutdown = Shutdown::listen(children.clone())?;
    match &command {
        #[cfg(feature = "memory")]
        Command::Demo => return demo::run(&output, shutdown).await,
        Command::Monitor(arguments) => return monitor::run(&global, arguments, &output, shutdown).await,
        _ => {}
    }
    let Some(client) = shutdown.unless_asked(connect(&global)).await else {
        return not_begun(&command, &output, shutdown).await;
    };
    let client = client?;
    let stream = command.stream().cloned();
    let exit = match command {
        Command::Publish(arguments) => publish::run(&client, arguments, &output, shutdown).await,
        Command::Consume(arguments) => consume::run(&client, &arguments, &output, shutdown, children).await,
        Command::Group(command) => group::run(&client, command, &output, shutdown).await,
        Command::DeadLetter(command) => dead_letter::run(&client, command, &output, shutdown).await,
        Command::Stream(command) => stream::run(&client, command, &output, shutdown).await,
        Command::Check => check::run(&client, &output, shutdown).await,
        Command::Bench(arguments) => bench::run(&client, &arguments, &output, shutdown).await,
        #[cfg(feature = "memory")]
        Command::Demo => unreachable!("it has a broker of its own"),
        Command::Monitor(_) => unreachable!("it connects by itself"),
    };
    // The outcome stands; a connection that does not close in good order changes nothing of it.
    let _ = client.close(CLOSE).await;
    match stream {
        Some(stream) => exit.map_err(|failure| failure.about(stream.as_str())),
        None => exit,
    }
}

/// It was asked to stop while it was connecting: whoever has an account to give gives it.
async fn not_begun(command: &Command, output: &Output, shutdown: Shutdown) -> Result<Exit, Failure> {
    match command {
        Command::Publish(_) => publish::not_begun(output).await,
        Command::Consume(arguments) => consume::not_begun(arguments, output, shutdown).await,
        Command::Group(GroupCommand::Watch(_)) => Ok(Exit::Done),
        _ => Ok(Exit::Interrupted),
    }
}

async fn connect(global: &Global) -> Result<Client, Failure> {
    let url = match &global.url[..] {
        [] => return Err(Failure::no_broker()),
        [url] => url,
        _ => return Err(Failure::usage("more than one --url: only `monitor` looks at several brokers")),
    };
    Ok(zephcast::connect_with(url, global.connect_timeout).await?)
}

/// Sends logs to stderr: warnings with -v, everything about brokers and members with more of it.
fn log(global: &Global) {
    let level = match global.verbose {
        0 => return,
        1 => {
            "zephcast=info,zephcast_core=info,zephcast_memory=info,zephcast_redis=info,zephcast_kafka=info,zephcast_rabbit=info,warn"
        }
        2 => {
            "zephcast=debug,zephcast_core=debug,zephcast_memory=debug,zephcast_redis=debug,zephcast_kafka=debug,zephcast_rabbit=debug,warn"
        }
        _ => {
            "zephcast=trace,zephcast_core=trace,zephcast_memory=trace,zephcast_redis=trace,zephcast_kafka=trace,zephcast_rabbit=trace,\
             librdkafka=debug,info"
        }
    };
    let colours = !global.no_color && std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
}

//! The command line.

pub(crate) mod bench;
pub(crate) mod consume;
pub(crate) mod dead_letter;
pub(crate) mod group;
pub(crate) mod monitor;
pub(crate) mod publish;
pub(crate) mod stream;
pub(crate) mod watch;

use std::ffi::OsString;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use zephcast::{GroupName, StreamName};

use crate::duration;

/// Publish, consume and watch consumer groups on any broker.
///
/// Messages go to stdout, everything else to stderr. At a terminal the output is text; in a pipe it is JSON Lines, one
/// object a line, unless --output says otherwise.
#[derive(Debug, Parser)]
#[command(name = "zephcast", version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 done; 1 it failed; 2 usage; 3 some messages failed for certain, or an input line \
                        was bad; 4 the outcome of some is unknown; 130 a signal ended it before it was done, or a second one at once."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the process's command line; ends it where that cannot be used.
    pub(crate) fn read() -> Self {
        Self::complete(Self::parse(), std::env::args_os())
    }

    /// Of an option that is given before and after the subcommand clap keeps the latter. Where it can be repeated that
    /// would be a broker that nobody watches.
    fn complete(mut cli: Self, line: impl Iterator<Item = OsString>) -> Self {
        if let Command::Monitor(_) = cli.command {
            let before = line.take_while(|word| word != "monitor");
            let matches = Global::augment_args(clap::Command::new("zephcast")).try_get_matches_from(before);
            let matches = matches.ok().filter(|all| all.value_source("url") == Some(ValueSource::CommandLine));
            let before = matches.and_then(|mut all| all.remove_many("url")).into_iter().flatten().collect::<Vec<_>>();
            if before != cli.global.url {
                cli.global.url.splice(..0, before);
            }
        }
        cli
    }
}

/// Options of every command, before or after its name.
#[derive(Args, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The broker: memory://, kafka:// or kafka+ssl://user:password@host:port, redis://, rediss://, redis+sentinel:// or
    /// redis+cluster://user:password@host:port/db, amqp:// or amqps://user:password@host:port/vhost; valkey is redis,
    /// valkeys is rediss
    #[arg(long, global = true, env = "ZEPHCAST_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) url: Vec<String>,
    /// What stdout shows [default: text at a terminal, json in a pipe]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// How long to try to connect before giving up
    #[arg(long, global = true, default_value = "10s", value_parser = duration::parse_positive, value_name = "DURATION")]
    pub(crate) connect_timeout: Duration,
    /// Log what happens; -vv logs more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Nothing on stderr but errors
    #[arg(long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// No colours
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

/// How stdout is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: the bare payload a line, tables.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish one message, or one per line of stdin; each is confirmed by the broker
    Publish(publish::PublishArgs),
    /// Join a group and print its deliveries, or run a command for each
    Consume(Box<consume::ConsumeArgs>),
    /// Lag, members and health of groups; moving and deleting them
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// What a group gave up on, and what to do with it
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetterCommand),
    /// Create, list, show and delete streams
    #[command(subcommand)]
    Stream(stream::StreamCommand),
    /// Look at the broker: version, capabilities, permissions, risky settings
    Check,
    /// Watch the groups of one or more brokers (repeat --url) and show them over HTTP: /metrics for Prometheus, /status,
    /// /healthz, and a page to look at
    Monitor(monitor::MonitorArgs),
    /// Measure how fast this broker publishes and consumes from here, and with what latency
    Bench(bench::BenchArgs),
    /// Watch a group of three get over a crash and a message that nobody can handle; needs no broker
    #[cfg(feature = "memory")]
    Demo,
}

/// A group of a stream.
#[derive(Args, Debug)]
pub(crate) struct Whose {
    /// The stream
    #[arg(value_parser = stream_name)]
    pub(crate) stream: StreamName,
    /// The group
    #[arg(value_parser = group_name)]
    pub(crate) group: GroupName,
}

impl Command {
    /// The stream that it is about, if it is about one.
    pub(crate) fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::Publish(arguments) => Some(&arguments.stream),
            Self::Consume(arguments) => Some(&arguments.stream),
            Self::Group(command) => Some(command.stream()),
            Self::DeadLetter(command) => Some(&command.whose().stream),
            Self::Stream(command) => command.stream(),
            Self::Bench(arguments) => arguments.stream.as_ref(),
            Self::Check | Self::Monitor(_) => None,
            #[cfg(feature = "memory")]
            Self::Demo => None,
        }
    }
}

/// Reads a stream's name.
pub(crate) fn stream_name(text: &str) -> Result<StreamName, String> {
    StreamName::new(text).map_err(|error| error.message().to_owned())
}

/// Reads a group's name.
pub(crate) fn group_name(text: &str) -> Result<GroupName, String> {
    GroupName::new(text).map_err(|error| error.message().to_owned())
}

/// Reads a count that cannot be nothing.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("write a whole number of at least 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_subcommand() {
        for line in [
            ["zephcast", "--url", "memory://", "--output", "json", "group", "list", "orders"],
            ["zephcast", "group", "list", "orders", "--url", "memory://", "--output", "json"],
        ] {
            let cli = Cli::try_parse_from(line).expect("both places");
            assert_eq!(cli.global.url, ["memory://"]);
            assert_eq!(cli.global.output, Some(Format::Json));
        }
    }

    #[test]
    fn every_broker_is_monitored_wherever_it_is_named() {
        for (line, expected) in [
            (
                "zephcast --url redis://a monitor --url redis://b --url redis://c",
                &["redis://a", "redis://b", "redis://c"][..],
            ),
            ("zephcast --url redis://a --url=redis://b -v monitor", &["redis://a", "redis://b"]),
            ("zephcast monitor --url redis://a --url redis://b", &["redis://a", "redis://b"]),
        ] {
            let words = || line.split(' ').map(OsString::from);
            let cli = Cli::complete(Cli::try_parse_from(words()).expect(line), words());
            assert_eq!(cli.global.url, expected, "{line}");
        }
    }

    #[test]
    fn bad_names_are_usage_errors_that_say_why() {
        let error = Cli::try_parse_from(["zephcast", "publish", "a b", "x"]).expect_err("a blank");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("' '"), "{error}");
    }
}

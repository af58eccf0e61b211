//! The command line. `tidy` parses the commands in papers with it, so that the two cannot drift apart.

use clap::{Parser, Subcommand, ValueEnum};

use crate::brokers::{Broker, Wanted};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Starts real brokers and runs what this workspace is proved with")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Real brokers for development, on loopback
    Brokers {
        #[command(subcommand)]
        command: BrokersCommand,
    },
    /// Runs every test and example, and says what ran against what
    Test {
        /// Only what needs this broker; `memory` is everything that needs no server; all by default
        broker: Option<Only>,
    },
    /// Checks what the compiler cannot see: sizes, layers, features, commands in papers
    Tidy,
    /// Measures this library beside the raw clients
    Bench {
        /// `memory` or a server; all of them by default
        broker: Option<Only>,
        /// How results are printed
        #[arg(long, default_value = "text")]
        output: Output,
        /// Passed on to the bench program
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BrokersCommand {
    /// Starts what does not run yet, empty, and prints a URL a line
    Up {
        /// All by default
        brokers: Vec<Broker>,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Stops what `up` started
    Down {
        /// All by default
        brokers: Vec<Broker>,
    },
    /// Shows what runs where
    Status {
        /// All by default
        brokers: Vec<Broker>,
    },
}

/// A broker, the embedded one included.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Only {
    Memory,
    Redis,
    Kafka,
    #[value(name = "rabbitmq")]
    RabbitMq,
}

impl Only {
    /// The server that it needs.
    pub(crate) fn server(self) -> Option<Broker> {
        match self {
            Self::Memory => None,
            Self::Redis => Some(Broker::Redis),
            Self::Kafka => Some(Broker::Kafka),
            Self::RabbitMq => Some(Broker::RabbitMq),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.server().map_or("memory", Broker::name)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

impl Output {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

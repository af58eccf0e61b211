//! `dead-letter`.

use clap::{Args, Subcommand};

use crate::args::{Whose, at_least_one};

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterCommand {
    /// What failed, why, and how often
    List(DeadLetterListArgs),
    /// Send dead letters back to this group only, with fresh attempts
    Redrive(RedriveArgs),
    /// Remove every dead letter of the group
    Purge(PurgeArgs),
}

impl DeadLetterCommand {
    /// Whose dead letters it is about.
    pub(crate) fn whose(&self) -> &Whose {
        match self {
            Self::List(arguments) => &arguments.whose,
            Self::Redrive(arguments) => &arguments.whose,
            Self::Purge(arguments) => &arguments.whose,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct DeadLetterListArgs {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) limit: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct RedriveArgs {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Only the message with this id; repeatable
    #[arg(long = "id", value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) limit: Option<usize>,
    /// Only those whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter_reason: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

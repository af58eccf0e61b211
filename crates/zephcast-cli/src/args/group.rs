//! `group`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use zephcast::{GroupName, GroupState, StreamName};

use crate::args::{group_name, stream_name};
use crate::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Every group of a stream
    List(GroupListArgs),
    /// Lag, members, what is in flight, and whether the group makes progress
    Status(GroupStatusArgs),
}

impl GroupCommand {
    /// The stream that it is about.
    pub(crate) fn stream(&self) -> &StreamName {
        match self {
            Self::List(arguments) => &arguments.stream,
            Self::Status(arguments) => &arguments.stream,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct GroupListArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    pub(crate) stream: StreamName,
    #[command(flatten)]
    pub(crate) judging: Judging,
}

#[derive(Args, Debug)]
pub(crate) struct GroupStatusArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    pub(crate) stream: StreamName,
    /// The group [default: every group of the stream]
    #[arg(value_parser = group_name)]
    pub(crate) group: Option<GroupName>,
    #[command(flatten)]
    pub(crate) judging: Judging,
}

/// How the state is judged and what it means for the exit code.
#[derive(Args, Debug)]
pub(crate) struct Judging {
    /// Judge by the progress over so long; 0s is one look
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    pub(crate) window: Duration,
    /// Exit with 1 when a group is in this state; repeatable
    #[arg(long, value_name = "STATE")]
    pub(crate) fail_on: Vec<BadState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BadState {
    /// A living member holds a delivery for longer than its lease
    Stuck,
    /// There is work and nobody settled any of it
    Stalled,
    /// It moves, but the lag grew
    Lagging,
}

impl BadState {
    /// Whether a group in this state is what was asked for.
    pub(crate) fn is(self, state: GroupState) -> bool {
        match self {
            Self::Stuck => state == GroupState::Stuck,
            Self::Stalled => state == GroupState::Stalled,
            Self::Lagging => state == GroupState::Lagging,
        }
    }
}

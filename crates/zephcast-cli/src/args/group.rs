//! `group`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use zephcast::{GroupName, GroupState, StreamName};

use crate::args::watch::GroupWatchArgs;
use crate::args::{Whose, group_name, stream_name};
use crate::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Every group of a stream
    List(GroupListArgs),
    /// Lag, members, what is in flight, and whether the group makes progress
    Status(GroupStatusArgs),
    /// Status again and again until a signal: a table at a terminal, a line a group and look elsewhere
    Watch(GroupWatchArgs),
    /// Move a group that has no living members: its next ones read from there on
    ///
    /// What was settled after that place comes again, and what was not settled before it is skipped. What waits for a
    /// later attempt still comes, and dead letters stay.
    Seek(GroupSeekArgs),
    /// Delete a group that has no living members, with its place, retries and dead letters
    Delete(GroupDeleteArgs),
}

impl GroupCommand {
    /// The stream that it is about.
    pub(crate) fn stream(&self) -> &StreamName {
        match self {
            Self::List(arguments) => &arguments.stream,
            Self::Status(arguments) => &arguments.stream,
            Self::Watch(arguments) => &arguments.stream,
            Self::Seek(arguments) => &arguments.whose.stream,
            Self::Delete(arguments) => &arguments.whose.stream,
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

#[derive(Args, Debug)]
pub(crate) struct GroupSeekArgs {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Where to: earliest (the oldest message that is still there), latest, a time such as 2025-11-22T18:00:00Z, or a
    /// position
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: String,
}

#[derive(Args, Debug)]
pub(crate) struct GroupDeleteArgs {
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// How the state is judged and what it means for the exit code.
#[derive(Args, Debug)]
pub(crate) struct Judging {
    /// Judge by the progress over so long; 0s is one look. Of other programs, which commit each 5s, by 6s at least
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

//! `consume`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use zephcast::{GroupName, MemberName, StreamName};

use crate::args::{at_least_one, group_name, stream_name};
use crate::duration;

/// Join a group and print its deliveries, or run a command for each
///
/// A delivery is acked after it was written to stdout, unless --exec or --settle says otherwise. SIGINT or SIGTERM
/// finishes what runs, commits and leaves the group; a second one ends at once.
///
/// With --settle none the stream is looked at and nothing changes: the group is not joined and need not exist. It
/// begins at --from, goes on with what is published later, and looks again 4 times a second.
#[derive(Args, Debug)]
pub(crate) struct ConsumeArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    pub(crate) stream: StreamName,
    /// The group
    #[arg(long, value_parser = group_name)]
    pub(crate) group: GroupName,
    /// This member's name, unique in its group; with --members N it is the beginning of NAME-1 to NAME-N [default: host,
    /// process id and a suffix]
    #[arg(long, value_parser = member_name)]
    pub(crate) member: Option<MemberName>,
    /// Where a new group, or --settle none, starts: earliest (the oldest message that is still there), latest, a time such
    /// as 2025-11-22T18:00:00Z, or a position
    #[arg(long, value_name = "START", default_value = "earliest")]
    pub(crate) from: String,
    /// Leave after so many were acked, rejected or dead-lettered; with --settle none, after so many were printed
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) count: Option<usize>,
    /// Leave after so long without a message, from the assignment (or the first look) on
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pub(crate) idle_exit: Option<Duration>,
    /// So many messages are fetched ahead by each member
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = at_least_one)]
    pub(crate) prefetch: usize,
    /// How long a silent member keeps what it holds
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_positive)]
    pub(crate) lease: Duration,
    /// How long leaving waits for what is not settled yet
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_positive)]
    pub(crate) drain: Duration,
    /// Attempts before a failing message goes to the dead letters
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_attempts: u32,
    /// Delay before the second attempt; doubled each time, with full jitter
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = duration::parse)]
    pub(crate) retry_delay: Duration,
    /// Create the stream with the broker's defaults if it is missing
    #[arg(long)]
    pub(crate) create: bool,
    /// With --exec: one message of a key at a time, in order, also through retries
    #[arg(long)]
    pub(crate) ordered_by_key: bool,
    /// With --exec: so many commands run at a time in each member
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub(crate) concurrency: usize,
    /// So many members of the group in this process
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub(crate) members: usize,
    /// Run a command (by `sh -c`) for each delivery, the payload on its stdin; exit 0 acks, 65 rejects,
    /// anything else is a failed attempt
    ///
    /// In its environment are `ZEPHCAST_STREAM`, `_GROUP`, `_MEMBER`, `_KEY`, `_ID`, `_ATTEMPT`, `_POSITION`,
    /// `_PUBLISHED_MS` and `ZEPHCAST_HEADER_<NAME>`. What has no value or a NUL in it is left out, and so is a variable
    /// longer than 128 KiB, or beyond 512 KiB in all, which systems do not pass on.
    #[arg(long, value_name = "CMD", conflicts_with = "settle")]
    pub(crate) exec: Option<String>,
    /// Who settles deliveries, if not this command by itself
    #[arg(long)]
    pub(crate) settle: Option<SettleMode>,
}

/// Who settles deliveries, if not this command by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SettleMode {
    /// Verdicts come in on stdin: `{"ack":1}` `{"nack":1,"after_ms":2000}` `{"fail":1,"reason":"..."}` `{"reject":1}`
    /// `{"commit":true}`
    Stdin,
    /// Nobody: browse the stream. No group is joined, created or moved, and nothing counts as delivered
    None,
}

fn member_name(text: &str) -> Result<MemberName, String> {
    MemberName::new(text).map_err(|error| error.message().to_owned())
}

//! `group watch`.

use std::time::Duration;

use clap::Args;
use zephcast::{GroupName, StreamName};

use crate::args::{at_least_one, group_name, stream_name};
use crate::duration;

#[derive(Args, Debug)]
pub(crate) struct GroupWatchArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    pub(crate) stream: StreamName,
    /// The group [default: every group of the stream, looked up anew each time]
    #[arg(value_parser = group_name)]
    pub(crate) group: Option<GroupName>,
    /// Look this often
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse_positive)]
    pub(crate) interval: Duration,
    /// Judge by the progress over so long, and by one look until then; 0s is always one look
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    pub(crate) window: Duration,
    /// End after so many looks [default: at a signal]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) count: Option<usize>,
}

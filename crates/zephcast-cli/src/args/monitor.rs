//! `monitor`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use zephcast::{GroupName, StreamName};

use crate::args::{group_name, stream_name};
use crate::duration;

#[derive(Args, Debug)]
pub(crate) struct MonitorArgs {
    /// Where to listen, and nowhere else; port 0 is a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub(crate) listen: SocketAddr,
    /// Only groups of this stream; repeatable [default: every stream]
    #[arg(long = "stream", value_name = "STREAM", value_parser = stream_name)]
    pub(crate) streams: Vec<StreamName>,
    /// Only groups of this name; repeatable [default: every group]
    #[arg(long = "group", value_name = "GROUP", value_parser = group_name)]
    pub(crate) groups: Vec<GroupName>,
    /// Look this often
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse_positive)]
    pub(crate) interval: Duration,
    /// Judge by the progress over so long, and by one look until then; 0s is always one look
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    pub(crate) window: Duration,
}

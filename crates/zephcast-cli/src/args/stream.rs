//! `stream`.

use clap::{Args, Subcommand};
use zephcast::{GroupName, StreamName};

use crate::args::{group_name, stream_name};

#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// Create a stream; one that exists alike is fine
    Create(StreamCreateArgs),
    /// Every stream
    List,
    /// One stream
    Show {
        /// The stream
        #[arg(value_parser = stream_name)]
        stream: StreamName,
    },
    /// Delete a stream with its groups and dead letters
    Delete {
        /// The stream
        #[arg(value_parser = stream_name)]
        stream: StreamName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl StreamCommand {
    /// The stream that it is about, if it is about one.
    pub(crate) fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::Create(arguments) => Some(&arguments.stream),
            Self::List => None,
            Self::Show { stream } | Self::Delete { stream, .. } => Some(stream),
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct StreamCreateArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    pub(crate) stream: StreamName,
    /// Units of order [default: the broker's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) partitions: Option<u32>,
    /// Create this group too, so that it gets everything from now on; repeatable
    #[arg(long = "group", value_name = "GROUP", value_parser = group_name)]
    pub(crate) groups: Vec<GroupName>,
    /// A setting of the broker's own; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

//! `bench`.

use clap::Args;
use zephcast::StreamName;

use crate::args::{at_least_one, stream_name};

/// A payload has a mark of its run and the time at which it was sent.
const LEAST_SIZE: usize = 16;

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// A stream that exists, and keeps the messages of the run [default: one of its own, deleted at the end]
    #[arg(value_parser = stream_name)]
    pub(crate) stream: Option<StreamName>,
    /// So many messages are published, and then consumed
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = at_least_one)]
    pub(crate) messages: usize,
    /// The payload of each, at least 16
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = size)]
    pub(crate) size: usize,
    /// So many messages may wait for their confirmation at a time [default: the broker's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) in_flight: Option<u32>,
    /// The latency is that of so many messages a second, for 5 s
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(size) if size >= LEAST_SIZE => Ok(size),
        _ => Err(format!("write a whole number of at least {LEAST_SIZE} bytes")),
    }
}

//! `publish`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use zephcast::StreamName;

use crate::args::stream_name;
use crate::duration;

/// Publish one message, or one per line of stdin; each is confirmed by the broker
#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The stream
    #[arg(value_parser = stream_name)]
    pub(crate) stream: StreamName,
    /// The payload; without it every line of stdin is a message
    #[arg(conflicts_with = "jsonl")]
    pub(crate) payload: Option<OsString>,
    /// The key: messages of one key keep their order where the broker keeps order by key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// A header; repeatable, order and duplicates are kept
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// The message's id, for one message [default: a unique one]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// At most so many messages a second
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// So many messages may wait for their confirmation at a time
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) in_flight: u32,
    /// How long to wait for a confirmation; after it the outcome is unknown
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_positive)]
    pub(crate) timeout: Duration,
    /// A message whose outcome is unknown is sent again so many times at most, with the same id: it may be stored twice, and
    /// comes after those that followed it; its outcome is unknown until a copy is stored
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) resend: u32,
    /// Create the stream with the broker's defaults if it is missing
    #[arg(long)]
    pub(crate) create: bool,
    /// Each line of stdin is a record: `{"payload": "text"}` or `{"payload_base64": "..."}`, and optionally "key" or
    /// `"key_base64"`, "headers" (strings or `{"base64": "..."}`), "id" or `"id_base64"`; deliveries as `consume` writes
    /// them are such records
    #[arg(long)]
    pub(crate) jsonl: bool,
}

/// Reads `NAME=VALUE`.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("the header has no name before its `=`".into()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("write NAME=VALUE".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(rate),
        _ => Err("write a number of messages a second, at least 0.001".into()),
    }
}

//! The raw client before a large backlog, with a handler that stalls.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::time::sleep;

use super::SLICE;
use super::lab::server_of;
use super::settings::{Protocol, consuming};
use crate::Outcome;

/// Takes one record and then no more, for so long.
pub(crate) async fn stall(url: &str, topic: &str, group: &str, time: Duration) -> Outcome<()> {
    let consumer: BaseConsumer = consuming(&server_of(url), group, Protocol::Classic).create()?;
    consumer.subscribe(&[topic])?;
    while consumer.poll(SLICE).transpose()?.is_none() {}
    sleep(time).await;
    Ok(())
}

//! What is resident while a handler stalls before a large backlog, of each side in a process of its own.

use std::process::Command;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::time::{sleep, timeout};
use zephcast::{Client, Delivery};

use super::lab::server_of;
use super::settings::{Protocol, consuming};
use super::{PREFETCH_MIB, SLICE};
use crate::Outcome;
use crate::measure::Stopwatch;
use crate::report::{Mark, Row};

/// How long handlers stall: until everything that is fetched ahead is there.
const STALL: Duration = Duration::from_secs(5);

/// One process, as it is asked for on the command line.
pub(crate) struct Stalled {
    pub(crate) who: String,
    pub(crate) url: String,
    pub(crate) topic: String,
    pub(crate) group: String,
}

/// Asks both processes.
pub(super) fn measure(url: &str, topic: &str, groups: [String; 2]) -> Outcome<Row> {
    let [raw_group, our_group] = groups;
    let peak = |who: &str, group: &str| -> Outcome<f64> {
        let ended = Command::new(std::env::current_exe()?).args(["--stalled", who, url, topic, group]).output()?;
        let said = String::from_utf8(ended.stdout)?;
        Ok(said.trim().parse().map_err(|_| String::from_utf8_lossy(&ended.stderr).into_owned())?)
    };
    let (raw, ours) = (peak("raw", &raw_group)?, peak("ours", &our_group)?);
    let mark = Mark { text: "<= 2 x 16 MiB + 64 MiB", reached: ours <= 2.0 * PREFETCH_MIB + 64.0 };
    Ok(Row { broker: "kafka", case: "backlog", resident: Some((raw, ours)), marks: vec![mark], ..Row::default() })
}

impl Stalled {
    /// Stalls; returns how many MiB were resident at most.
    pub(crate) async fn run(self) -> Outcome<f64> {
        let watch = Stopwatch::start();
        match self.who.as_str() {
            "raw" => stall_raw(&server_of(&self.url), &self.topic, &self.group).await?,
            _ => stall_ours(&zephcast::connect(&self.url).await?, &self.topic, &self.group).await?,
        }
        Ok(watch.stop(1).peak_mib)
    }
}

/// Takes one record and then no more.
async fn stall_raw(server: &str, topic: &str, group: &str) -> Outcome<()> {
    let consumer: BaseConsumer = consuming(server, group, Protocol::Classic).create()?;
    consumer.subscribe(&[topic])?;
    while consumer.poll(SLICE).transpose()?.is_none() {}
    sleep(STALL).await;
    Ok(())
}

/// Has a handler that does not end.
async fn stall_ours(client: &Client, topic: &str, group: &str) -> Outcome<()> {
    let handler = async |_: &Delivery| {
        std::future::pending::<()>().await;
        Ok::<_, zephcast::Error>(())
    };
    let handling = client.group(topic, group).run(handler, std::future::pending());
    match timeout(STALL, handling).await {
        Ok(ended) => Err(format!("the group ended: {ended:?}").into()),
        Err(_) => Ok(()),
    }
}

//! What is resident while a handler stalls before a large backlog, of each side in a process of its own.

use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;
use zephcast::{Client, Delivery};

use crate::measure::Stopwatch;
use crate::report::{Mark, Row};
use crate::{Outcome, kafka, rabbit};

/// How long handlers stall: until everything that is fetched ahead is there.
const STALL: Duration = Duration::from_secs(5);
/// What prefetching may take by default.
const PREFETCH_MIB: f64 = 16.0;

/// One process, as it is asked for on the command line.
pub(crate) struct Stalled {
    pub(crate) who: String,
    pub(crate) url: String,
    pub(crate) stream: String,
    pub(crate) group: String,
}

/// Asks both processes, ours first: what it had comes again where groups share one queue.
pub(crate) fn measure(broker: &'static str, url: &str, stream: &str, groups: [String; 2]) -> Outcome<Row> {
    let [raw_group, our_group] = groups;
    let peak = |who: &str, group: &str| -> Outcome<f64> {
        let ended = Command::new(std::env::current_exe()?).args(["--stalled", who, url, stream, group]).output()?;
        let said = String::from_utf8(ended.stdout)?;
        Ok(said.trim().parse().map_err(|_| String::from_utf8_lossy(&ended.stderr).into_owned())?)
    };
    let (ours, raw) = (peak("ours", &our_group)?, peak("raw", &raw_group)?);
    let mark = Mark { text: "<= 2 x 16 MiB + 64 MiB", reached: ours <= 2.0 * PREFETCH_MIB + 64.0 };
    Ok(Row { broker, case: "backlog", resident: Some((raw, ours)), marks: vec![mark], ..Row::default() })
}

impl Stalled {
    /// Stalls; returns how many MiB were resident at most.
    pub(crate) async fn run(self) -> Outcome<f64> {
        let Self { who, url, stream, group } = self;
        let watch = Stopwatch::start();
        match who.as_str() {
            "raw" if url.starts_with("amqp") => rabbit::stall(&url, &stream, &group, STALL).await?,
            "raw" => kafka::stall(&url, &stream, &group, STALL).await?,
            _ => stall(&zephcast::connect(&url).await?, &stream, &group).await?,
        }
        Ok(watch.stop(1).peak_mib)
    }
}

/// Has a handler that does not end.
async fn stall(client: &Client, stream: &str, group: &str) -> Outcome<()> {
    let handler = async |_: &Delivery| {
        std::future::pending::<()>().await;
        Ok::<_, zephcast::Error>(())
    };
    let handling = client.group(stream, group).run(handler, std::future::pending());
    match timeout(STALL, handling).await {
        Ok(ended) => Err(format!("the group ended: {ended:?}").into()),
        Err(_) => Ok(()),
    }
}

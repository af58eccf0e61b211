//! The raw client publishes, at its best: reports are counted and not awaited one by one, and a thread of the client's own
//! takes them. A sender that polls for them itself is no faster, and spins through the last millisecond of each poll.

use std::fmt::Write as _;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use tokio::task::spawn_blocking;

use super::reports::Reports;
use super::settings::{ID, producing};
use crate::measure::{Sample, Stopwatch};
use crate::{Outcome, PAYLOAD_BYTES};

/// What is published how.
#[derive(Clone, Copy)]
pub(super) struct Flood {
    pub(super) messages: usize,
    /// The most messages without a report.
    pub(super) in_flight: usize,
    /// Whether each has its id in a header.
    pub(super) ids: bool,
}

/// Publishes with a connection that is made, and a producer that has its number, before the clock starts.
pub(super) async fn publish(server: String, topic: String, flood: Flood) -> Outcome<Sample> {
    let run = move || -> Outcome<Sample> {
        let reports = Reports::new();
        let producer: ThreadedProducer<Reports> = producing(&server).create_with_context(reports.clone())?;
        flood.run(&topic, &producer, &reports)
    };
    spawn_blocking(run).await?
}

type Record<'a> = BaseRecord<'a, [u8], [u8]>;

/// A record with its id in a header.
pub(super) fn with_id<'a>(record: Record<'a>, id: &str) -> Record<'a> {
    record.headers(OwnedHeaders::new_with_capacity(1).insert(Header { key: ID, value: Some(id) }))
}

impl Flood {
    fn run(self, topic: &str, producer: &ThreadedProducer<Reports>, reports: &Reports) -> Outcome<Sample> {
        // In steps as ours has them, so that room is looked for as often.
        let step = (self.in_flight / 4).clamp(1, 512);
        let (payload, mut id) = (vec![b'x'; PAYLOAD_BYTES], String::new());
        let prefix = format!("{:016x}", fastrand::u64(..));
        let mut send = |number: usize| {
            let mut record = BaseRecord::to(topic).payload(&payload[..]);
            if self.ids {
                id.clear();
                let _ = write!(id, "{prefix}-{number}");
                record = with_id(record, &id);
            }
            producer.send(record).map_err(|(error, _)| error)
        };
        send(0)?;
        reports.wait_for(1)?;
        let watch = Stopwatch::start();
        for number in 0..self.messages {
            if number % step == 0 {
                reports.wait_for((1 + number + step).saturating_sub(self.in_flight))?;
            }
            send(1 + number)?;
        }
        reports.wait_for(1 + self.messages)?;
        let sample = watch.stop(self.messages);
        reports.check()?;
        Ok(sample)
    }
}

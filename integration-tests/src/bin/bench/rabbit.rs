//! RabbitMQ: raw and ours in turns, each time with a stream and a group of its own, which is one quorum queue.

mod moves;
mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zephcast::driver::StreamSpec;
use zephcast::{Client, StreamName};

use self::raw::{Acks, Way};
use crate::measure::{Sample, Side, in_turns};
use crate::options::Options;
use crate::ours::GROUP;
use crate::report::{Mark, Report, Row};
use crate::{Outcome, joined, stalled};

pub(crate) use self::raw::stall;

const URL: &str = "ZEPHCAST_TEST_RABBITMQ_URL";
/// Messages of one try of one way to publish.
const CALIBRATION: usize = 20_000;
/// A quorum queue takes its time, so a round of publishing takes fewer messages.
const SHARE: usize = 2;
/// As many are in flight by default with ours.
const IN_FLIGHT: usize = 1_000;
/// The backlog before which handlers stall, in rounds' messages: a million by default.
const BACKLOG: usize = 5;
const LATENCY_ROUNDS: usize = 3;
const MOVE_ROUNDS: usize = 3;

/// Said with the figures.
const COMPARED: [&str; 4] = [
    "rabbitmq, both sides: 256 bytes by a topic exchange to a quorum queue, mandatory and persistent, with message_id, \
     timestamp and the header zephcast-published-ms; a prefetch of 1,000",
    "rabbitmq publish: 1,000 in flight at most on both sides, each with its confirm",
    "rabbitmq consume, group: raw acks 50 at a time by one `multiple`, but where `an ack each` says that it awaits one \
     for each message; at the end every ack is durable, but with a handler",
    "rabbitmq join, leave: the longest that any message took from publish to handler while a second member joins, and \
     while it leaves in good order, at 1,000 a second",
];

/// One server, and names of streams that nobody else has.
#[derive(Clone)]
struct Lab {
    url: String,
    client: Client,
    /// How the raw client publishes fastest here.
    way: Way,
    prefix: String,
    streams: Arc<AtomicUsize>,
}

pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    let url = std::env::var(URL).map_err(|_| format!("{URL} is not set"))?;
    let mut lab = Lab {
        client: zephcast::connect(&url).await?,
        url,
        way: Way::Polled,
        prefix: format!("bench-{:08x}", fastrand::u32(..)),
        streams: Arc::default(),
    };
    for note in COMPARED {
        report.note(note.to_owned());
    }
    lab.calibrate().await?;
    report.note(format!("raw rabbitmq publish: {}, the fastest of {}", lab.way.name(), raw::WAYS.len()));
    report.add(lab.publish(options).await?)?;
    for row in lab.consume(options).await? {
        report.add(row)?;
    }
    report.add(lab.latency(options).await?)?;
    for row in moves::measure(&lab, options.rounds.min(MOVE_ROUNDS)).await? {
        report.add(row)?;
    }
    let backlog = options.messages * BACKLOG;
    report.note(format!("rabbitmq backlog: {backlog} messages are ready"));
    report.add(lab.backlog(backlog).await?)
}

impl Lab {
    /// Runs `work` with a stream and a group of its own, which are gone afterwards.
    async fn with_stream<T>(&self, work: impl AsyncFnOnce(String) -> Outcome<T>) -> Outcome<T> {
        let stream = format!("{}-{}", self.prefix, self.streams.fetch_add(1, Ordering::Relaxed));
        let mut spec = StreamSpec::new(StreamName::new(&stream)?);
        spec.groups = vec![GROUP.parse()?];
        self.client.admin().create_stream(&spec).await?;
        let done = work(stream.clone()).await;
        self.client.admin().delete_stream(&spec.stream).await?;
        done
    }

    /// Finds the fastest way of the raw client.
    async fn calibrate(&mut self) -> Outcome<()> {
        let mut best = 0.0;
        for way in raw::WAYS.into_iter().cycle().take(2 * raw::WAYS.len()) {
            let tried = async |stream| raw::publish(self.url.clone(), stream, CALIBRATION, way).await;
            let sample = self.with_stream(tried).await?;
            if sample.per_second > best {
                (best, self.way) = (sample.per_second, way);
            }
        }
        Ok(())
    }

    /// A side that works on an empty queue, or on one with so many messages.
    fn side<F>(&self, filled: usize, work: impl Fn(Self, String) -> F + Copy + 'static) -> Side
    where
        F: Future<Output = Outcome<Sample>> + 'static,
    {
        let lab = self.clone();
        Side::new(move || {
            let lab = lab.clone();
            async move {
                let work = async |stream: String| {
                    if filled > 0 {
                        raw::publish(lab.url.clone(), stream.clone(), filled, lab.way).await?;
                    }
                    work(lab.clone(), stream).await
                };
                lab.with_stream(work).await
            }
        })
    }

    async fn publish(&self, options: &Options) -> Outcome<Row> {
        let messages = options.messages / SHARE;
        let sides = [
            self.side(0, move |lab, stream| raw::publish(lab.url, stream, messages, lab.way)),
            self.side(0, move |lab, stream| joined::publish(lab.client, stream, messages, IN_FLIGHT)),
        ];
        let [raw, ours] = in_turns(options.rounds, sides).await?;
        Ok(compared("publish", raw, ours))
    }

    async fn consume(&self, options: &Options) -> Outcome<[Row; 3]> {
        let messages = options.messages;
        let raw = |acks| self.side(messages, move |lab, stream| raw::consume(lab.url, stream, messages, acks));
        let sides = [
            raw(Acks::Many),
            self.side(messages, move |lab, stream| joined::consume(lab.client, stream, GROUP.into(), messages)),
            raw(Acks::Each),
            self.side(messages, move |lab, stream| joined::handle(lab.client, stream, GROUP.into(), messages)),
        ];
        let [raw, ours, each, handled] = in_turns(options.rounds, sides).await?;
        Ok([
            compared("consume", raw, ours),
            beside("consume, raw with an ack each", each, ours),
            compared("group", raw, handled),
        ])
    }

    async fn latency(&self, options: &Options) -> Outcome<Row> {
        let sides = [
            self.side(0, |lab, stream| raw::latency(lab.url, stream)),
            self.side(0, |lab, stream| joined::latency(lab.client, stream, GROUP.into())),
        ];
        let [raw, ours] = in_turns(options.rounds.min(LATENCY_ROUNDS), sides).await?;
        let p99 = |sample: &Sample| sample.p99_us.unwrap_or(f64::NAN);
        let marks = vec![
            Mark { text: "p99 <= raw + 500 us", reached: p99(&ours) <= p99(&raw) + 500.0 },
            Mark { text: "p99 < 5 ms", reached: p99(&ours) < 5_000.0 },
        ];
        Ok(Row { marks, ..beside("latency", raw, ours) })
    }

    async fn backlog(&self, messages: usize) -> Outcome<Row> {
        let measured = async |stream: String| {
            raw::publish(self.url.clone(), stream.clone(), messages, self.way).await?;
            stalled::measure("rabbitmq", &self.url, &stream, [GROUP.into(), GROUP.into()])
        };
        self.with_stream(measured).await
    }
}

fn compared(case: &'static str, raw: Sample, ours: Sample) -> Row {
    let marks = vec![
        Mark { text: ">= 0.95 x raw", reached: ours.per_second >= 0.95 * raw.per_second },
        Mark { text: "CPU <= 1.2 x raw", reached: ours.cpu_us <= 1.2 * raw.cpu_us },
    ];
    Row { marks, ..beside(case, raw, ours) }
}

/// Without marks: not the same work, or not the best of the raw client.
fn beside(case: &'static str, raw: Sample, ours: Sample) -> Row {
    Row { broker: "rabbitmq", case, raw: Some(raw), ours: Some(ours), ..Row::default() }
}

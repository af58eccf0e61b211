//! Redis: raw and ours in turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fred::clients::Client as Raw;
use zephcast::{Client, StreamName};

use crate::measure::{Sample, Side, in_turns};
use crate::options::Options;
use crate::redis_raw::Way;
use crate::report::{Mark, Report, Row};
use crate::{Outcome, ours, redis_raw};

const URL: &str = "ZEPHCAST_TEST_REDIS_URL";
/// Messages of one try of one way to publish.
const CALIBRATION: usize = 30_000;
const LATENCY_ROUNDS: usize = 3;

/// One server, and names of streams that nobody else has.
#[derive(Clone)]
struct Lab {
    url: String,
    client: Client,
    raw: Raw,
    /// How the raw client publishes fastest here.
    way: Way,
    prefix: String,
    streams: Arc<AtomicUsize>,
}

pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    let url = std::env::var(URL).map_err(|_| format!("{URL} is not set"))?;
    let mut lab = Lab {
        client: zephcast::connect(&url).await?,
        raw: redis_raw::connect(&url).await?,
        url,
        way: Way::Pipelines,
        prefix: format!("bench-{:08x}", fastrand::u32(..)),
        streams: Arc::default(),
    };
    lab.calibrate().await?;
    report.note(format!("raw redis publish: {}, the fastest of {}", lab.way.name(), redis_raw::WAYS.len()));
    report.add(lab.publish(options).await?)?;
    let [consume, handle] = lab.consume(options).await?;
    report.add(consume)?;
    report.add(handle)?;
    report.add(lab.latency(options).await?)
}

impl Lab {
    /// Runs `work` with a stream of its own, which is gone afterwards.
    async fn with_stream<T>(&self, work: impl AsyncFnOnce(String) -> Outcome<T>) -> Outcome<T> {
        let stream = format!("{}-{}", self.prefix, self.streams.fetch_add(1, Ordering::Relaxed));
        let done = work(stream.clone()).await;
        self.client.admin().delete_stream(&StreamName::new(&stream)?).await?;
        done
    }

    /// Finds the fastest way of the raw client.
    async fn calibrate(&mut self) -> Outcome<()> {
        let mut best = 0.0;
        for way in redis_raw::WAYS.into_iter().cycle().take(2 * redis_raw::WAYS.len()) {
            let tried = async |stream| redis_raw::publish(self.url.clone(), stream, CALIBRATION, way).await;
            let sample = self.with_stream(tried).await?;
            if sample.per_second > best {
                (best, self.way) = (sample.per_second, way);
            }
        }
        Ok(())
    }

    /// A side that works on an empty stream, or on one with so many messages.
    fn side<F>(&self, filled: usize, work: impl Fn(Self, String) -> F + Copy + 'static) -> Side
    where
        F: Future<Output = Outcome<Sample>> + 'static,
    {
        let lab = self.clone();
        Side::new(move || {
            let lab = lab.clone();
            async move {
                let (way, raw) = (lab.way, lab.raw.clone());
                let work = async |stream: String| {
                    redis_raw::fill(&raw, &stream, filled, way).await?;
                    work(lab.clone(), stream).await
                };
                lab.with_stream(work).await
            }
        })
    }

    async fn publish(&self, options: &Options) -> Outcome<Row> {
        let messages = options.messages;
        let sides = [
            self.side(0, move |lab, stream| redis_raw::publish(lab.url, stream, messages, lab.way)),
            self.side(0, move |lab, stream| ours::publish(lab.client, stream, messages)),
        ];
        let [raw, ours] = in_turns(options.rounds, sides).await?;
        Ok(compared("publish", raw, ours))
    }

    async fn consume(&self, options: &Options) -> Outcome<[Row; 2]> {
        let messages = options.messages;
        let sides = [
            self.side(messages, move |lab, stream| redis_raw::consume(lab.url, stream, messages)),
            self.side(messages, move |lab, stream| ours::consume(lab.client, stream, messages)),
            self.side(messages, move |lab, stream| ours::handle(lab.client, stream, messages)),
        ];
        let [raw, ours, handled] = in_turns(options.rounds, sides).await?;
        Ok([compared("consume", raw, ours), compared("group", raw, handled)])
    }

    async fn latency(&self, options: &Options) -> Outcome<Row> {
        let sides = [
            self.side(0, |lab, stream| redis_raw::latency(lab.url, stream)),
            self.side(0, |lab, stream| ours::latency(lab.client, stream)),
        ];
        let [raw, ours] = in_turns(options.rounds.min(LATENCY_ROUNDS), sides).await?;
        let p99 = |sample: &Sample| sample.p99_us.unwrap_or(f64::NAN);
        let marks = vec![
            Mark { text: "p99 <= raw + 500 us", reached: p99(&ours) <= p99(&raw) + 500.0 },
            Mark { text: "p99 < 5 ms", reached: p99(&ours) < 5_000.0 },
        ];
        Ok(Row { broker: "redis", case: "latency", raw: Some(raw), ours: Some(ours), marks, ..Row::default() })
    }
}

fn compared(case: &'static str, raw: Sample, ours: Sample) -> Row {
    let marks = vec![
        Mark { text: ">= 0.95 x raw", reached: ours.per_second >= 0.95 * raw.per_second },
        Mark { text: "CPU <= 1.2 x raw", reached: ours.cpu_us <= 1.2 * raw.cpu_us },
    ];
    Row { broker: "redis", case, raw: Some(raw), ours: Some(ours), marks, ..Row::default() }
}

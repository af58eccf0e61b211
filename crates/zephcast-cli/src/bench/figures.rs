//! What was measured, for programs and for people.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::ground::Ground;
use crate::args::bench::BenchArgs;
use crate::output::seconds;
use crate::output::table::Table;

/// So many messages in so long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) messages: usize,
    pub(super) took: Duration,
}

/// `{"event":"bench",...}`.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    event: &'static str,
    broker: &'static str,
    stream: String,
    messages: usize,
    size: usize,
    publish_seconds: f64,
    publish_per_second: f64,
    consume_seconds: f64,
    consume_per_second: f64,
    /// At which the latency was measured, a second, and of how many messages.
    rate: u32,
    latency_messages: u64,
    latency_ms: Latency,
}

/// From the call to publish until a message is handed out.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Measured {
    fn per_second(self) -> f64 {
        let seconds = self.took.as_secs_f64().max(1e-9);
        #[expect(clippy::cast_precision_loss, reason = "a rate is no exact figure")]
        let rate = self.messages as f64 / seconds;
        (rate * 10.0).round() / 10.0
    }
}

impl Figures {
    /// `ages` are in nanoseconds.
    pub(super) fn new(
        ground: &Ground,
        arguments: &BenchArgs,
        published: Measured,
        consumed: Measured,
        ages: &Histogram<u64>,
    ) -> Self {
        Self {
            event: "bench",
            broker: ground.broker,
            stream: ground.stream.to_string(),
            messages: arguments.messages,
            size: arguments.size,
            publish_seconds: seconds(published.took),
            publish_per_second: published.per_second(),
            consume_seconds: seconds(consumed.took),
            consume_per_second: consumed.per_second(),
            rate: arguments.rate,
            latency_messages: ages.len(),
            latency_ms: Latency::of(ages),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut rates = Table::new(["", "MESSAGES", "BYTES EACH", "SECONDS", "A SECOND"]);
        for (what, seconds, rate) in [
            ("publish", self.publish_seconds, self.publish_per_second),
            ("consume", self.consume_seconds, self.consume_per_second),
        ] {
            let (messages, size) = (self.messages.to_string(), self.size.to_string());
            rates.row([what.into(), messages, size, format!("{seconds:.3}"), format!("{rate:.0}")]);
        }
        let mut latency = Table::new(["LATENCY", "P50", "P90", "P99", "P99.9", "MAX"]);
        let Latency { p50, p90, p99, p999, max } = &self.latency_ms;
        let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(ToString::to_string);
        latency.row(["ms".into(), p50, p90, p99, p999, max]);
        format!("{} ({})\n{rates}\n\n{latency}\n  at {} messages a second", self.stream, self.broker, self.rate)
    }
}

impl Latency {
    fn of(ages: &Histogram<u64>) -> Self {
        // Milliseconds to the microsecond.
        #[expect(clippy::cast_precision_loss, reason = "three digits are kept")]
        let ms = |nanos: u64| (nanos as f64 / 1e3).round() / 1e3;
        let at = |quantile| ms(ages.value_at_quantile(quantile));
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: ms(ages.max()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_keys_in_order_and_people_get_a_table() {
        let mut ages = Histogram::<u64>::new(3).unwrap();
        for millisecond in 1..=100 {
            ages.record(millisecond * 1_000_000).unwrap();
        }
        let measured = Measured { messages: 1_000, took: Duration::from_millis(300) };
        let figures = Figures {
            event: "bench",
            broker: "redis",
            stream: "s".into(),
            messages: 1_000,
            size: 100,
            publish_seconds: 0.3,
            publish_per_second: measured.per_second(),
            consume_seconds: 0.5,
            consume_per_second: 2_000.0,
            rate: 20,
            latency_messages: ages.len(),
            latency_ms: Latency::of(&ages),
        };
        let json = serde_json::to_string(&figures).unwrap();
        let (rates, _) = json.split_once(r#","latency_ms":{"p50":"#).expect("both");
        assert_eq!(
            rates,
            concat!(
                r#"{"event":"bench","broker":"redis","stream":"s","messages":1000,"size":100,"publish_seconds":0.3,"#,
                r#""publish_per_second":3333.3,"consume_seconds":0.5,"consume_per_second":2000.0,"rate":20,"latency_messages":100"#
            )
        );
        for (quantile, expected) in [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 100.0), ("max", 100.0)] {
            let value = serde_json::to_value(&figures).unwrap()["latency_ms"][quantile].as_f64().expect("a number");
            assert!((value - expected).abs() < 0.1, "{quantile}: {value}");
        }
        let text = figures.text();
        assert!(text.contains("publish  1000      100         0.300    3333") && text.contains("P99.9"), "{text}");
    }
}

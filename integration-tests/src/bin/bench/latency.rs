//! From the call to publish to the handler's first line, at a steady rate.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hdrhistogram::Histogram;
use tokio::time::{Instant, MissedTickBehavior};

use crate::measure::Sample;
use crate::{Outcome, PAYLOAD_BYTES};

const EVERY: Duration = Duration::from_millis(1);
const SECONDS: usize = 5;

/// Messages of a round.
pub(crate) const MESSAGES: usize = 1_000 * SECONDS;

/// When messages of a round are sent, and how long they took.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    began: Instant,
}

impl Schedule {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// Calls `send` with a stamped payload once a millisecond; it must not wait for an answer.
    pub(crate) async fn send(self, mut send: impl AsyncFnMut(Bytes) -> Outcome<()>) -> Outcome<()> {
        let mut ticks = tokio::time::interval(EVERY);
        // What is late is sent at once, so that a stall does not lower the rate.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for _ in 0..MESSAGES {
            ticks.tick().await;
            send(self.stamp()).await?;
        }
        Ok(())
    }

    fn stamp(self) -> Bytes {
        let mut payload = BytesMut::zeroed(PAYLOAD_BYTES);
        let now = self.began.elapsed().as_nanos() as u64;
        (&mut payload[..8]).put_u64(now);
        payload.freeze()
    }

    fn age(self, payload: &[u8]) -> Option<Duration> {
        let sent = payload.get(..8)?.try_into().ok().map(u64::from_be_bytes)?;
        Some(self.began.elapsed().saturating_sub(Duration::from_nanos(sent)))
    }
}

/// The ages of handled messages.
pub(crate) struct Ages {
    schedule: Schedule,
    histogram: Histogram<u64>,
}

impl Ages {
    pub(crate) fn new(schedule: Schedule) -> Outcome<Self> {
        Ok(Self { schedule, histogram: Histogram::new(3)? })
    }

    /// Takes a payload that just reached its handler.
    pub(crate) fn handled(&mut self, payload: &[u8]) {
        if let Some(age) = self.schedule.age(payload) {
            // It grows as it must, so nothing is out of range.
            let _ = self.histogram.record(age.as_nanos() as u64);
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.histogram.len() >= MESSAGES as u64
    }

    pub(crate) fn into_sample(self, sample: Sample) -> Sample {
        let quantile = |q| Some(self.histogram.value_at_quantile(q) as f64 / 1e3);
        Sample { p50_us: quantile(0.5), p99_us: quantile(0.99), ..sample }
    }
}

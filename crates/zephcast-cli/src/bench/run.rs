//! The measuring: publish, consume, and then the latency at a steady rate.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hdrhistogram::Histogram;
use tokio::time::{Instant, timeout};
use zephcast::{Consumer, Message, PendingReceipt, Publisher};

use super::figures::{Figures, Measured};
use super::ground::Ground;
use crate::args::bench::BenchArgs;
use crate::exit::Failure;
use crate::output::Output;
use crate::pace::Pace;

/// How long the latency is measured.
const LATENCY_SECONDS: u32 = 5;
/// What did not come for so long does not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Receipts that wait before the oldest is looked at.
const RECEIPTS: usize = 20_000;
/// Later than this a message is not late because of the timer, and its time counts from when it was due.
const TIMER: Duration = Duration::from_millis(5);
/// Where a payload has its mark, and where the time.
const MARK: Range<usize> = 0..8;
const TIME: Range<usize> = 8..16;

/// Measures everything, one after another.
pub(super) async fn measure(ground: &mut Ground, arguments: &BenchArgs, output: &Output) -> Result<Figures, Failure> {
    let &BenchArgs { messages, size, rate, .. } = arguments;
    output.progress(&format!("publishing {messages} messages"));
    let mut run = Run { mark: ground.mark, size, began: Instant::now() };
    let published = run.publish(&ground.publisher, messages).await?;

    output.progress(&format!("consuming {messages} messages"));
    ground.join().await?;
    let consumer = ground.consumer.as_mut().expect("it has just joined");
    let consumed = run.consume(consumer, messages).await?;

    output.progress(&format!("{rate} messages a second for {LATENCY_SECONDS} s"));
    let ages = run.latency(&ground.publisher, consumer, rate).await?;
    Ok(Figures::new(ground, arguments, published, consumed, &ages))
}

/// How messages of this run are made and known.
struct Run {
    mark: u64,
    size: usize,
    began: Instant,
}

impl Run {
    /// From the first call to the last confirmation.
    async fn publish(&mut self, publisher: &Publisher, messages: usize) -> Result<Measured, Failure> {
        let payload = self.payload(self.began);
        self.began = Instant::now();
        let mut receipts: VecDeque<PendingReceipt> = VecDeque::new();
        for _ in 0..messages {
            if receipts.len() == RECEIPTS
                && let Some(oldest) = receipts.pop_front()
            {
                oldest.await?;
            }
            receipts.push_back(publisher.enqueue(Message::new(payload.clone())).await?);
        }
        for receipt in receipts {
            receipt.await?;
        }
        Ok(Measured { messages, took: self.began.elapsed() })
    }

    /// From the assignment, as joining is no part of it, to when the last ack is durable.
    async fn consume(&self, consumer: &mut Consumer, messages: usize) -> Result<Measured, Failure> {
        let began = Instant::now();
        for n in 0..messages {
            self.next(consumer, n, messages).await?;
        }
        consumer.commit().await?;
        Ok(Measured { messages, took: began.elapsed() })
    }

    /// How long messages take from the call to publish until they are handed out, at a steady rate.
    async fn latency(
        &self,
        publisher: &Publisher,
        consumer: &mut Consumer,
        rate: u32,
    ) -> Result<Histogram<u64>, Failure> {
        let messages = rate as usize * LATENCY_SECONDS as usize;
        let publishing = async {
            let mut pace = Pace::new(rate.into());
            let mut receipts = Vec::with_capacity(messages);
            for _ in 0..messages {
                let due = pace.next().await;
                // A stall holds up those that were due meanwhile, and their time runs.
                let sent = if due.elapsed() > TIMER { due } else { Instant::now() };
                receipts.push(publisher.enqueue(self.payload(sent)).await?);
            }
            for receipt in receipts {
                receipt.await?;
            }
            Ok::<_, Failure>(())
        };
        let consuming = async {
            let mut ages = Histogram::new(3).expect("3 digits can be kept");
            for n in 0..messages {
                let sent = self.next(consumer, n, messages).await?;
                let age = self.began.elapsed().saturating_sub(sent);
                // It grows as it must, so that nothing is out of range.
                let _ = ages.record(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
            }
            Ok(ages)
        };
        let ((), ages) = tokio::try_join!(publishing, consuming)?;
        Ok(ages)
    }

    /// Acks the next delivery of this run and returns when its message was sent. In a stream that was given others
    /// publish too: what is theirs is passed over.
    async fn next(&self, consumer: &mut Consumer, n: usize, messages: usize) -> Result<Duration, Failure> {
        loop {
            let lost = || Failure::failed(format!("after {n} of {messages} messages none came for {PATIENCE:?}"));
            let delivery = timeout(PATIENCE, consumer.next()).await.map_err(|_| lost())?;
            let delivery = delivery.ok_or_else(|| Failure::failed("the consumer ended"))??;
            let sent = self.sent(delivery.payload());
            delivery.ack()?;
            if let Some(sent) = sent {
                return Ok(sent);
            }
        }
    }

    fn payload(&self, sent: Instant) -> Bytes {
        let mut payload = BytesMut::zeroed(self.size);
        let sent = sent.saturating_duration_since(self.began).as_nanos();
        (&mut payload[MARK]).put_u64(self.mark);
        (&mut payload[TIME]).put_u64(u64::try_from(sent).unwrap_or(u64::MAX));
        payload.freeze()
    }

    /// When a message was sent, since the beginning; `None` for one of somebody else.
    fn sent(&self, payload: &[u8]) -> Option<Duration> {
        let number = |range: Range<usize>| payload.get(range)?.try_into().ok().map(u64::from_be_bytes);
        (number(MARK) == Some(self.mark)).then(|| number(TIME).map(Duration::from_nanos))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_payload_tells_whose_it_is_and_when_it_was_sent() {
        let run = Run { mark: 7, size: 20, began: Instant::now() };
        tokio::time::advance(Duration::from_millis(3)).await;
        let payload = run.payload(Instant::now());
        assert_eq!((payload.len(), run.sent(&payload)), (20, Some(Duration::from_millis(3))));
        assert_eq!(Run { mark: 8, ..run }.sent(&payload), None);
        assert_eq!(run.sent(b"short"), None);
    }
}

//! Where reports of the library find those who wait for them: one allocation and one waker for a whole batch.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::sync::OwnedSemaphorePermit;

use super::lane::Hold;

/// The answer for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its partition and offset; the offset is negative where the broker does not say it.
    Stored {
        partition: i32,
        offset: i64,
    },
    Refused {
        code: Code,
        may_be_stored: bool,
    },
    /// The library went away without a report.
    Unanswered,
}

/// How much of a tag is the place in the batch.
const PLACE_BITS: u32 = 12;
/// The most messages of a batch.
pub(crate) const MOST_MESSAGES: usize = 1 << PLACE_BITS;

/// The room that a batch takes, and what keeps others from going beside it.
pub(crate) type Held = (OwnedSemaphorePermit, Option<Hold>);

/// The batches that wait for reports. Filled by publishers, answered by the thread that polls.
#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<Batches>);

#[derive(Debug, Default)]
struct Batches {
    /// By number.
    open: Vec<Option<Batch>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Batch {
    answers: Vec<Answer>,
    /// How many have none yet.
    missing: usize,
    /// Of whoever waits for the last one.
    waker: Option<Waker>,
    /// Let go once it is answered, whoever waits for that.
    held: Option<Held>,
    /// Nobody waits any more.
    forsaken: bool,
}

impl Desk {
    /// Opens a batch of `count` messages, from 1 to [`MOST_MESSAGES`]. Each has to be answered.
    pub(crate) fn open(self: &Arc<Self>, count: usize, held: Held) -> Ticket {
        debug_assert!((1..=MOST_MESSAGES).contains(&count), "{count} messages");
        let batch = Batch {
            answers: vec![Answer::Unanswered; count],
            missing: count,
            waker: None,
            held: Some(held),
            forsaken: false,
        };
        let mut batches = self.lock();
        let number = match batches.free.pop() {
            Some(number) => {
                batches.open[number] = Some(batch);
                number
            }
            None => {
                batches.open.push(Some(batch));
                batches.open.len() - 1
            }
        };
        drop(batches);
        Ticket { desk: self.clone(), number: Some(number) }
    }

    /// Notes what became of a message.
    pub(crate) fn answer(&self, tag: usize, answer: Answer) {
        let (number, place) = (tag >> PLACE_BITS, tag & (MOST_MESSAGES - 1));
        let mut batches = self.lock();
        let Some(batch) = batches.open.get_mut(number).and_then(Option::as_mut) else { return };
        let Some(slot) = batch.answers.get_mut(place) else { return };
        *slot = answer;
        batch.missing = batch.missing.saturating_sub(1);
        if batch.missing == 0 {
            let (waker, held) = (batch.waker.take(), batch.held.take());
            let forsaken = if batch.forsaken { batches.close(number) } else { None };
            drop(batches);
            drop((held, forsaken));
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// No report comes any more: whoever waits hears so.
    pub(crate) fn end(&self) {
        let mut batches = self.lock();
        let mut waiting = Vec::new();
        for number in 0..batches.open.len() {
            let Some(batch) = &mut batches.open[number] else { continue };
            batch.missing = 0;
            waiting.push((batch.waker.take(), batch.held.take()));
            if batch.forsaken {
                batches.close(number);
            }
        }
        drop(batches);
        for (waker, held) in waiting {
            drop(held);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batches {
    fn close(&mut self, number: usize) -> Option<Batch> {
        self.free.push(number);
        self.open[number].take()
    }
}

/// A batch that waits for its answers. Dropped, they come all the same, and nobody looks at them.
#[derive(Debug)]
pub(crate) struct Ticket {
    desk: Arc<Desk>,
    /// `None` once the answers were taken.
    number: Option<usize>,
}

impl Ticket {
    /// What the report of the message at this place carries.
    pub(crate) fn tag(&self, place: usize) -> usize {
        self.number.unwrap_or_default() << PLACE_BITS | place
    }

    /// The answers in order, once all are there.
    ///
    /// # Cancel safety
    /// Dropped, the answers are lost.
    pub(crate) async fn answers(mut self) -> Vec<Answer> {
        poll_fn(|cx| {
            let mut batches = self.desk.lock();
            let Some(number) = self.number else { return Poll::Ready(Vec::new()) };
            match &mut batches.open[number] {
                Some(batch) if batch.missing > 0 => {
                    batch.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                _ => {
                    let answered = batches.close(number);
                    self.number = None;
                    Poll::Ready(answered.map_or_else(Vec::new, |batch| batch.answers))
                }
            }
        })
        .await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut batches = self.desk.lock();
        match &mut batches.open[number] {
            Some(batch) if batch.missing > 0 => {
                batch.waker = None;
                batch.forsaken = true;
            }
            _ => drop(batches.close(number)),
        }
    }
}

#[cfg(test)]
mod tests;

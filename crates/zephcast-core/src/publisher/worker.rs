//! The publishing loop: batches what waits, keeps several batches on their way, and repeats what certainly failed.
//!
//! Invariant: messages are sent in the order in which they were enqueued. So while something is to be sent again,
//! nothing newer is sent, and what is sent again goes only when nothing is on its way. What the broker refuses out of
//! the middle of what is on its way comes after the rest of that.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::driver::Sink;
use crate::retry::Reconnect;
use crate::{Broker, Error, ErrorKind, PublishError};

use super::answers::Stored;
use super::queue::{BATCH, Batch, Note, Queue};

/// The fewest calls that may wait for their answer at the same time; more where the window has room for more batches.
const CALLS: usize = 4;
/// Of those, the ones that may be small: what comes meanwhile becomes one batch instead of a small call each.
const SMALL_CALLS: usize = 2;

pub(super) struct Worker {
    sink: Arc<dyn Sink>,
    queue: Arc<Queue>,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    broker: Broker,
    /// Calls that may wait for their answer at the same time.
    calls: usize,
    /// How many messages are worth a call while others are on their way.
    enough: usize,
    on_the_way: FuturesOrdered<BoxFuture<'static, (Batch, Vec<Stored>, Duration)>>,
    /// Certainly not stored, to be sent again in this order.
    again: VecDeque<Batch>,
    /// Whether what is on its way is sent again.
    resending: bool,
    backoff: Reconnect,
    not_before: Instant,
    /// Why the last message failed that is being sent again.
    last_failure: Option<Error>,
}

impl Worker {
    pub(super) fn new(
        sink: Arc<dyn Sink>,
        queue: Arc<Queue>,
        messages: Arc<Semaphore>,
        bytes: Arc<Semaphore>,
        broker: Broker,
    ) -> Self {
        let window = messages.available_permits();
        let calls = CALLS.max(window / BATCH);
        let enough = (window / calls).clamp(1, BATCH);
        Self {
            sink,
            queue,
            messages,
            bytes,
            broker,
            calls,
            enough,
            on_the_way: FuturesOrdered::new(),
            again: VecDeque::new(),
            resending: false,
            backoff: Reconnect::new(),
            not_before: Instant::now(),
            last_failure: None,
        }
    }

    /// Runs until every publisher is gone and everything has its answer.
    pub(super) async fn run(mut self) {
        let queue = self.queue.clone();
        let mut open = true;
        while open || !self.on_the_way.is_empty() || !self.again.is_empty() {
            let fresh = open && self.again.is_empty() && !self.resending && self.on_the_way.len() < self.calls;
            let resend = !self.again.is_empty() && self.on_the_way.is_empty();
            let wanted = if self.on_the_way.len() < SMALL_CALLS { 1 } else { self.enough };
            tokio::select! {
                biased;
                Some((batch, outcome, took)) = self.on_the_way.next() => self.finish(batch, outcome, took),
                () = tokio::time::sleep_until(self.not_before), if resend => self.resend(),
                batch = queue.pop(wanted), if fresh => match batch {
                    Some(batch) => self.send(batch),
                    None => open = false,
                },
            }
        }
    }

    fn send(&mut self, batch: Batch) {
        let now = Instant::now();
        let batch =
            if batch.notes.iter().any(|note| note.deadline <= now) { self.unexpired(batch, now) } else { batch };
        if batch.notes.is_empty() {
            return;
        }
        self.on_the_way.push_back(Box::pin(publish(self.sink.clone(), batch, self.broker)));
    }

    /// Answers for what came too late, and returns the rest.
    fn unexpired(&self, batch: Batch, now: Instant) -> Batch {
        let mut rest = Batch { duty: batch.duty, ..Batch::default() };
        let (mut late, mut answers) = (Vec::new(), Vec::new());
        for (message, note) in batch.messages.into_iter().zip(batch.notes) {
            if note.deadline > now {
                rest.messages.push(message);
                rest.notes.push(note);
                continue;
            }
            let error = match self.last_failure.clone() {
                Some(cause) if cause.kind() == ErrorKind::Blocked => {
                    Error::new(ErrorKind::Blocked, "publish", "refused until the publish timeout").caused_by(cause)
                }
                Some(cause) => too_late().caused_by(cause),
                None => too_late(),
            };
            let error = error.on(self.broker);
            answers.push((note.place as usize, Err(PublishError::Failed(error))));
            late.push(note);
        }
        rest.duty.answer(answers);
        self.give_back(&late);
        rest
    }

    /// `took`: how long it was tried. What cannot be tried as long once more is not sent again: that it is not stored is
    /// certain now.
    fn finish(&mut self, batch: Batch, mut outcome: Vec<Stored>, took: Duration) {
        debug_assert_eq!(batch.notes.len(), outcome.len(), "a driver answers for each message");
        outcome.resize_with(batch.notes.len(), || {
            let error = Error::new(ErrorKind::Internal, "publish", "the driver gave no answer for the message");
            Err(PublishError::Unknown(error))
        });
        let resent = std::mem::take(&mut self.resending);
        if outcome.iter().any(is_to_be_sent_again) {
            let again = self.answer_others(batch, outcome, Instant::now() + took);
            match again.notes.is_empty() {
                true => {}
                false if resent => self.again.push_front(again),
                false => self.again.push_back(again),
            }
            if self.on_the_way.is_empty() {
                self.not_before = Instant::now() + self.backoff.failed();
                self.wake_for_the_first_deadline();
            }
        } else {
            // There is room only when the messages are gone.
            let Batch { messages, notes, duty } = batch;
            drop(messages);
            duty.answer(notes.iter().map(|note| note.place as usize).zip(outcome));
            self.give_back(&notes);
            // The broker is there: what waits to be sent again follows at once.
            self.backoff.succeeded();
            self.last_failure = None;
        }
    }

    /// Answers for all but what is to be sent again, which is returned: it has more time than until this next answer.
    fn answer_others(&mut self, batch: Batch, outcome: Vec<Stored>, next_answer: Instant) -> Batch {
        let mut again = Batch { duty: batch.duty, ..Batch::default() };
        let (mut through, mut answers) = (Vec::new(), Vec::new());
        for ((message, note), stored) in batch.messages.into_iter().zip(batch.notes).zip(outcome) {
            if is_to_be_sent_again(&stored) {
                self.last_failure = stored.as_ref().err().map(|failure| failure.error().clone());
                if note.deadline > next_answer {
                    again.messages.push(message);
                    again.notes.push(note);
                    continue;
                }
            }
            answers.push((note.place as usize, stored));
            through.push(note);
        }
        again.duty.answer(answers);
        self.give_back(&through);
        again
    }

    /// Sends the oldest again; the rest follows when its answer is there.
    fn resend(&mut self) {
        if let Some(batch) = self.again.pop_front() {
            self.send(batch);
            self.resending = !self.on_the_way.is_empty();
        }
    }

    /// A message whose deadline comes first is answered then, not a whole backoff later.
    fn wake_for_the_first_deadline(&mut self) {
        if let Some(first) = self.again.iter().flat_map(|batch| &batch.notes).map(|note| note.deadline).min() {
            self.not_before = self.not_before.min(first);
        }
    }

    fn give_back(&self, notes: &[Note]) {
        self.messages.add_permits(notes.len());
        self.bytes.add_permits(notes.iter().map(|note| note.size as usize).sum());
    }
}

/// One call. A message whose deadline passes meanwhile is answered then: nobody knows what becomes of it. Its room stays
/// taken as long as the call.
async fn publish(sink: Arc<dyn Sink>, batch: Batch, broker: Broker) -> (Batch, Vec<Stored>, Duration) {
    let began = Instant::now();
    let unanswered = || {
        let trouble = sink.trouble();
        // A broker that takes nothing is no slow one.
        let kind = match &trouble {
            Some(trouble) if trouble.kind() == ErrorKind::Blocked => ErrorKind::Blocked,
            _ => ErrorKind::Timeout,
        };
        let error = Error::new(kind, "publish", "no answer within the publish timeout").on(broker);
        Err(PublishError::Unknown(match trouble {
            Some(trouble) => error.caused_by(trouble),
            None => error,
        }))
    };
    let outcome = {
        let mut answer = pin!(sink.publish(&batch.messages));
        // In the order in which they came, so the first deadline is the next.
        let mut waiting = batch.notes.iter().peekable();
        loop {
            let Some(first) = waiting.peek() else { break vec![unanswered(); batch.messages.len()] };
            if let Ok(outcome) = timeout_at(first.deadline, &mut answer).await {
                break outcome;
            }
            let now = Instant::now();
            while let Some(late) = waiting.next_if(|note| note.deadline <= now) {
                batch.duty.answer([(late.place as usize, unanswered())]);
            }
        }
    };
    (batch, outcome, began.elapsed())
}

fn too_late() -> Error {
    Error::new(ErrorKind::Timeout, "publish", "not sent within the publish timeout")
}

fn is_to_be_sent_again(stored: &Stored) -> bool {
    matches!(stored, Err(PublishError::Failed(error)) if error.is_retryable())
}

/// Also when the runtime ends the task: nobody waits for what is never sent.
impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

#[cfg(test)]
mod tests;

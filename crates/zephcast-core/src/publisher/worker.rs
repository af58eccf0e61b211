//! The publishing loop: batches what waits, keeps several batches on their way, and repeats what certainly failed.
//!
//! Invariant: messages are sent in the order in which they were enqueued. So while something is to be sent again,
//! nothing newer is sent, and what is sent again goes only when nothing is on its way. What the broker refuses out of
//! the middle of what is on its way comes after the rest of that.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::driver::Sink;
use crate::retry::Reconnect;
use crate::{Broker, Error, ErrorKind, Message, Position, PublishError};

/// Messages of one call to the driver.
const BATCH: usize = 512;
/// Calls that wait for their answer at the same time.
const CALLS: usize = 4;

/// A message and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) message: Message,
    /// Bytes of room that it takes.
    pub(super) size: u32,
    pub(super) deadline: Instant,
    pub(super) done: oneshot::Sender<Stored>,
}

impl Job {
    fn expired(self, broker: Broker, cause: Option<Error>) {
        let error = Error::new(ErrorKind::Timeout, "publish", "not sent within the publish timeout").on(broker);
        let error = match cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        };
        self.answer(Err(PublishError::Failed(error)));
    }

    fn answer(self, result: Stored) {
        // Whoever asked may have stopped waiting.
        let _ = self.done.send(result);
    }
}

/// The broker's answer for one message.
pub(super) type Stored = Result<Option<Position>, PublishError>;

type Outcome = Vec<Stored>;

/// A call to the driver that is through: who waits, what was sent, what became of it.
type Answered = (Vec<Waiting>, Vec<Message>, Outcome);

pub(super) struct Worker {
    sink: Arc<dyn Sink>,
    queue: mpsc::UnboundedReceiver<Job>,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    broker: Broker,
    on_the_way: FuturesOrdered<BoxFuture<'static, Answered>>,
    /// Certainly not stored, to be sent again in this order.
    again: VecDeque<Job>,
    backoff: Reconnect,
    not_before: Instant,
    /// Why the last message failed that is being sent again.
    last_failure: Option<Error>,
}

/// A job whose message is on its way.
struct Waiting {
    size: u32,
    deadline: Instant,
    done: oneshot::Sender<Stored>,
}

impl Worker {
    pub(super) fn new(
        sink: Arc<dyn Sink>,
        queue: mpsc::UnboundedReceiver<Job>,
        messages: Arc<Semaphore>,
        bytes: Arc<Semaphore>,
        broker: Broker,
    ) -> Self {
        Self {
            sink,
            queue,
            messages,
            bytes,
            broker,
            on_the_way: FuturesOrdered::new(),
            again: VecDeque::new(),
            backoff: Reconnect::new(),
            not_before: Instant::now(),
            last_failure: None,
        }
    }

    /// Runs until every publisher is gone and everything has its answer.
    pub(super) async fn run(mut self) {
        let mut jobs = Vec::with_capacity(BATCH);
        let mut open = true;
        while open || !self.on_the_way.is_empty() || !self.again.is_empty() {
            let fresh = open && self.again.is_empty() && self.on_the_way.len() < CALLS;
            let resend = !self.again.is_empty() && self.on_the_way.is_empty();
            tokio::select! {
                biased;
                Some((waiting, messages, outcome)) = self.on_the_way.next() => self.finish(waiting, messages, outcome),
                () = tokio::time::sleep_until(self.not_before), if resend => self.resend(),
                received = self.queue.recv_many(&mut jobs, BATCH), if fresh => {
                    open = received > 0;
                    self.send(jobs.drain(..));
                }
            }
        }
    }

    fn send(&mut self, jobs: impl Iterator<Item = Job>) {
        let now = Instant::now();
        let (mut waiting, mut messages, mut latest) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH), now);
        for job in jobs {
            if job.deadline <= now {
                self.give_back(1, job.size as usize);
                job.expired(self.broker, self.last_failure.clone());
                continue;
            }
            latest = latest.max(job.deadline);
            waiting.push(Waiting { size: job.size, deadline: job.deadline, done: job.done });
            messages.push(job.message);
        }
        if messages.is_empty() {
            return;
        }
        let (sink, broker) = (self.sink.clone(), self.broker);
        self.on_the_way.push_back(Box::pin(async move {
            let outcome = match timeout_at(latest, sink.publish(&messages)).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let error = Error::new(ErrorKind::Timeout, "publish", "no answer within the publish timeout");
                    vec![Err(PublishError::Unknown(error.on(broker))); messages.len()]
                }
            };
            (waiting, messages, outcome)
        }));
    }

    fn finish(&mut self, waiting: Vec<Waiting>, messages: Vec<Message>, mut outcome: Outcome) {
        debug_assert_eq!(waiting.len(), outcome.len(), "a driver answers for each message");
        outcome.resize_with(waiting.len(), || {
            let error = Error::new(ErrorKind::Internal, "publish", "the driver gave no answer for the message");
            Err(PublishError::Unknown(error))
        });
        let (mut count, mut bytes) = (0, 0);
        for ((waiting, message), result) in waiting.into_iter().zip(messages).zip(outcome) {
            let Waiting { size, deadline, done } = waiting;
            if let Err(PublishError::Failed(error)) = &result
                && error.is_retryable()
            {
                self.last_failure = Some(error.clone());
                self.again.push_back(Job { message, size, deadline, done });
                continue;
            }
            count += 1;
            bytes += size as usize;
            // Whoever asked may have stopped waiting.
            let _ = done.send(result);
        }
        self.give_back(count, bytes);
        if count > 0 && self.again.is_empty() {
            self.backoff.succeeded();
        }
        if !self.again.is_empty() && self.on_the_way.is_empty() {
            self.not_before = Instant::now() + self.backoff.failed();
            self.wake_for_the_first_deadline();
        }
    }

    /// Sends the oldest again; the rest follows when its answer is there.
    fn resend(&mut self) {
        let batch: Vec<Job> = self.again.drain(..self.again.len().min(BATCH)).collect();
        let rest = std::mem::take(&mut self.again);
        self.send(batch.into_iter());
        self.again = rest;
    }

    /// A message whose deadline comes first is answered then, not a whole backoff later.
    fn wake_for_the_first_deadline(&mut self) {
        if let Some(first) = self.again.iter().map(|job| job.deadline).min() {
            self.not_before = self.not_before.min(first);
        }
    }

    fn give_back(&self, messages: usize, bytes: usize) {
        self.messages.add_permits(messages);
        self.bytes.add_permits(bytes);
    }
}

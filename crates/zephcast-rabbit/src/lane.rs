//! A channel on which messages are published with confirmation, many at a time and in order.
//!
//! One task owns the channel: the client library matches confirms to messages by the order in which it was called, and
//! two callers at once would get each other's. It also hands a message that no queue took to whatever confirm comes
//! next; which message that was is found by its [`Mark`].

mod outcome;
mod ready;
mod suspicion;
mod verdicts;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::poll_immediate;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use zephcast_core::Result;

pub(crate) use self::outcome::Outcome;
pub(crate) use self::suspicion::LARGE;
use self::suspicion::Suspicion;
use self::verdicts::{Answer, Fault, Place, Verdict, Verdicts};
use crate::connection::Connection;
use crate::link::Link;

/// A message on its way to an exchange.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) payload: Bytes,
}

/// Messages that were handed in together, and who waits for their outcomes.
struct Job {
    messages: Vec<Outgoing>,
    done: oneshot::Sender<Vec<Outcome>>,
}

impl Job {
    /// Answers that nothing of it was sent.
    fn refuse(self) {
        let Self { messages, done } = self;
        // Whoever handed it in may have gone away.
        let _ = done.send(messages.iter().map(|_| Outcome::NotSent).collect());
    }
}

/// The way to the task. It ends when this is dropped and everything has its outcome.
pub(crate) struct Lane {
    link: Arc<Link>,
    jobs: mpsc::UnboundedSender<Job>,
    /// Set when a queue refused a message.
    refused: Arc<AtomicBool>,
    /// Until somebody waits for its end.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Lane {
    /// Opens a channel with confirms.
    pub(crate) async fn open(connection: &Connection, operation: &'static str) -> Result<Self> {
        let (link, channel) = connection.channel(operation).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        link.answer(confirms).await.map_err(|failure| connection.failed(&link, operation, failure))?;
        let (jobs, todo) = mpsc::unbounded_channel();
        let refused = Arc::new(AtomicBool::new(false));
        let suspicion = Suspicion::new(connection);
        let task = Mutex::new(Some(tokio::spawn(run(channel, todo, suspicion, refused.clone()))));
        Ok(Self { link, jobs, refused, task })
    }

    /// Whether nothing can be published here any more.
    pub(crate) fn is_over(&self) -> bool {
        self.jobs.is_closed() || self.link.is_over()
    }

    /// Whether what comes next belongs on another lane, once everything here has its outcome.
    ///
    /// So it does when a queue refused a message. The server's side of a channel remembers the refusal: where a quorum queue
    /// had lost its leader, all that follows on the channel is refused, also when there is a new leader.
    pub(crate) fn is_worn(&self) -> bool {
        self.refused.load(Ordering::Relaxed) || self.link.is_used_up()
    }

    /// Waits until everything has its outcome. Whoever still waits for one has it by then.
    pub(crate) async fn finish(self: Arc<Self>) {
        let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        drop(self);
        // It does not panic, and nobody ends it.
        let _ = task.await;
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Hands messages in; they are stored in the order of these calls. The outcomes come when all of them are known, and
    /// never if the connection falls silent.
    pub(crate) fn publish(&self, messages: Vec<Outgoing>) -> oneshot::Receiver<Vec<Outcome>> {
        let (done, outcomes) = oneshot::channel();
        if messages.is_empty() {
            let _ = done.send(Vec::new());
            return outcomes;
        }
        if let Err(mpsc::error::SendError(job)) = self.jobs.send(Job { messages, done }) {
            job.refuse();
        }
        outcomes
    }
}

/// What is known of the jobs whose messages are not all decided, in the order of their messages.
struct Open {
    jobs: VecDeque<OpenJob>,
    refused: Arc<AtomicBool>,
}

struct OpenJob {
    first: Place,
    outcomes: Vec<Option<Outcome>>,
    undecided: usize,
    done: oneshot::Sender<Vec<Outcome>>,
}

async fn run(channel: Channel, mut todo: mpsc::UnboundedReceiver<Job>, suspicion: Suspicion, refused: Arc<AtomicBool>) {
    let mut waiting = FuturesUnordered::new();
    let mut verdicts = Verdicts::new(suspicion.limit());
    let mut open = Open { jobs: VecDeque::new(), refused };
    loop {
        tokio::select! {
            biased;
            Some((place, answer)) = waiting.next(), if !waiting.is_empty() => {
                verdicts.completed(place, answer);
                // Whatever completed before these is ready by now, too.
                ready::each(&mut waiting, |(place, answer)| verdicts.completed(place, answer));
                open.decide(verdicts.swept(waiting.is_empty()));
            }
            job = todo.recv() => {
                let Some(Job { messages, done }) = job else { break };
                open.begin(verdicts.next(), messages.len(), done);
                for message in messages {
                    let goes_alone = suspicion.falls_on(&message);
                    if goes_alone {
                        drain(&mut waiting, &mut verdicts, &mut open).await;
                    }
                    let place = verdicts.published(&message);
                    if goes_alone {
                        verdicts.completed_alone(place, publish(&channel, message).await);
                        open.decide(verdicts.swept(true));
                        continue;
                    }
                    let mut publishing = Box::pin(publish(&channel, message).map(move |answer| (place, answer)));
                    // The first poll takes the message's number and queues its frames.
                    match poll_immediate(&mut publishing).await {
                        Some((place, answer)) => verdicts.completed(place, answer),
                        None => waiting.push(publishing),
                    }
                }
                if waiting.is_empty() {
                    open.decide(verdicts.swept(true));
                }
            }
        }
        if !channel.status().connected() && waiting.is_empty() {
            break;
        }
    }
    todo.close();
    drain(&mut waiting, &mut verdicts, &mut open).await;
    while let Some(job) = todo.recv().await {
        job.refuse();
    }
}

/// Waits until everything has its outcome.
async fn drain<F: Future<Output = (Place, Result<Answer, Fault>)>>(
    waiting: &mut FuturesUnordered<F>,
    verdicts: &mut Verdicts,
    open: &mut Open,
) {
    while let Some((place, answer)) = waiting.next().await {
        verdicts.completed(place, answer);
    }
    open.decide(verdicts.swept(true));
}

async fn publish(channel: &Channel, message: Outgoing) -> Result<Answer, Fault> {
    if !channel.status().connected() {
        return Err(Fault::NotSent);
    }
    let Outgoing { exchange, routing_key, properties, payload } = message;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let written = channel.basic_publish(exchange, routing_key, options, &payload, properties).await;
    Ok(Answer::from(written.map_err(Fault::failed)?.await.map_err(Fault::failed)?))
}

impl Open {
    /// A job of so many messages, which come next.
    fn begin(&mut self, first: Place, messages: usize, done: oneshot::Sender<Vec<Outcome>>) {
        let outcomes = (0..messages).map(|_| None).collect();
        self.jobs.push_back(OpenJob { first, outcomes, undecided: messages, done });
    }

    fn decide(&mut self, decided: impl IntoIterator<Item = (Place, Verdict)>) {
        for (place, verdict) in decided {
            if matches!(verdict, Verdict::Nack) {
                self.refused.store(true, Ordering::Relaxed);
            }
            let number = self.jobs.partition_point(|job| job.first <= place) - 1;
            let job = &mut self.jobs[number];
            job.outcomes[place.since(job.first)] = Some(Outcome::from(verdict));
            job.undecided -= 1;
            if job.undecided > 0 {
                continue;
            }
            if let Some(job) = self.jobs.remove(number) {
                // Whoever handed it in may have gone away.
                let _ = job.done.send(job.outcomes.into_iter().flatten().collect());
            }
        }
    }
}

#[cfg(test)]
mod tests;

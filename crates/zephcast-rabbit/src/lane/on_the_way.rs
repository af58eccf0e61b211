//! What is on its way to the server, and what becomes of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use futures_util::stream::FuturesUnordered;
use lapin::Channel;
use lapin::options::BasicPublishOptions;
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::suspicion::Suspicion;
use super::verdicts::{Answer, Fault, Place, Verdict, Verdicts};
use super::{Job, Outcome, Outgoing, ready};

/// What is on its way, published by `P`.
pub(super) struct OnTheWay<'a, P, F> {
    channel: &'a Channel,
    publish: P,
    suspicion: &'a Suspicion,
    /// Told of every step of the oldest.
    clock: &'a Clock,
    waiting: FuturesUnordered<Pin<Box<F>>>,
    verdicts: Verdicts,
    open: Open,
}

impl<'a, P, F> OnTheWay<'a, P, F>
where
    P: Fn(Place, Outgoing) -> F,
    F: Future<Output = (Place, Result<Answer, Fault>)>,
{
    pub(super) fn new(
        channel: &'a Channel,
        publish: P,
        suspicion: &'a Suspicion,
        clock: &'a Clock,
        refused: Arc<AtomicBool>,
    ) -> Self {
        Self {
            channel,
            publish,
            suspicion,
            clock,
            waiting: FuturesUnordered::new(),
            verdicts: Verdicts::new(suspicion.limit()),
            open: Open { jobs: VecDeque::new(), refused },
        }
    }

    /// Publishes what there is to do until there is no more, or no channel, and everything has its outcome.
    pub(super) async fn work(&mut self, todo: &mut mpsc::UnboundedReceiver<Job>) {
        loop {
            tokio::select! {
                biased;
                () = self.some_complete(), if !self.waiting.is_empty() => {}
                job = todo.recv() => match job {
                    Some(job) => self.publish(job).await,
                    None => break,
                },
            }
            if !self.channel.status().connected() && self.waiting.is_empty() {
                break;
            }
        }
        todo.close();
        self.drain().await;
    }

    /// No more is waited for: of what has no answer by now nobody knows what becomes.
    pub(super) fn give_up(mut self) {
        ready::each(&mut self.waiting, |(place, answer)| self.verdicts.completed(place, answer));
        self.decide(self.waiting.is_empty());
        self.open.give_up(self.verdicts.next());
    }

    async fn publish(&mut self, Job { messages, done }: Job) {
        self.open.begin(self.verdicts.next(), messages.len(), done);
        self.clock.begin();
        for message in messages {
            let goes_alone = self.suspicion.falls_on(&message);
            if goes_alone {
                self.drain().await;
            }
            let place = self.verdicts.published(&message);
            if goes_alone {
                let (place, answer) = (self.publish)(place, message).await;
                self.verdicts.completed_alone(place, answer);
                self.decide(true);
                continue;
            }
            let mut publishing = Box::pin((self.publish)(place, message));
            // The first poll takes the message's number and queues its frames.
            match poll_immediate(&mut publishing).await {
                Some((place, answer)) => self.verdicts.completed(place, answer),
                None => self.waiting.push(publishing),
            }
        }
        if self.waiting.is_empty() {
            self.decide(true);
        }
    }

    /// Waits until something is complete, and takes all that is.
    async fn some_complete(&mut self) {
        let Some((place, answer)) = self.waiting.next().await else { return };
        self.verdicts.completed(place, answer);
        // Whatever completed before these is ready by now, too.
        ready::each(&mut self.waiting, |(place, answer)| self.verdicts.completed(place, answer));
        self.decide(self.waiting.is_empty());
    }

    /// Waits until everything has its outcome.
    async fn drain(&mut self) {
        while !self.waiting.is_empty() {
            self.some_complete().await;
        }
        self.decide(true);
    }

    /// Everything that completed so far is known, and nothing else is on its way if `all`.
    ///
    /// The server has answered when the oldest has its outcome. That of a newer one alone is no answer: a queue that never
    /// confirms would keep its messages here as long as another one does.
    fn decide(&mut self, all: bool) {
        let oldest = self.verdicts.oldest();
        self.open.decide(self.verdicts.swept(all));
        if self.verdicts.oldest() > oldest {
            self.clock.answered(!self.open.jobs.is_empty());
        }
    }
}

/// Publishes the message of a place: what becomes of it.
pub(super) async fn publish(channel: &Channel, place: Place, message: Outgoing) -> (Place, Result<Answer, Fault>) {
    (place, try_publish(channel, message).await)
}

async fn try_publish(channel: &Channel, message: Outgoing) -> Result<Answer, Fault> {
    if !channel.status().connected() {
        return Err(Fault::NotSent);
    }
    let Outgoing { exchange, routing_key, properties, payload } = message;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let written = channel.basic_publish(exchange, routing_key, options, &payload, properties).await;
    Ok(Answer::from(written.map_err(Fault::failed)?.await.map_err(Fault::failed)?))
}

/// What is known of the jobs whose messages are not all decided, in the order of their messages.
struct Open {
    jobs: VecDeque<OpenJob>,
    /// Set when a queue refused a message.
    refused: Arc<AtomicBool>,
}

struct OpenJob {
    first: Place,
    outcomes: Vec<Option<Outcome>>,
    undecided: usize,
    done: oneshot::Sender<Vec<Outcome>>,
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

    /// Answers for everything that is open. Nothing from `next` on was sent.
    fn give_up(&mut self, next: Place) {
        for OpenJob { first, outcomes, done, .. } in self.jobs.drain(..) {
            let sent = next.since(first);
            let without = |number| if number < sent { Outcome::Late } else { Outcome::NotSent };
            let outcomes = outcomes.into_iter().enumerate();
            let outcomes = outcomes.map(|(number, outcome)| outcome.unwrap_or_else(|| without(number)));
            // Whoever handed it in may have gone away.
            let _ = done.send(outcomes.collect());
        }
    }
}

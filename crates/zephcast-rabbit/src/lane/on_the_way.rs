//! What is on its way to the server, and what becomes of it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::vec::IntoIter;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, PublisherConfirm};
use tokio::sync::{mpsc, oneshot};

use super::clock::{Awaited, Clock};
use super::suspicion::Suspicion;
use super::unwritten::Unwritten;
use super::verdicts::{Answer, Fault, Place, Verdict, Verdicts};
use super::{Batch, Job, Outcome, ready};
use crate::error::{code, has_code};
use crate::link::Link;
use crate::properties::Outgoing;
use crate::quiet::quietly;

/// What is on its way, written by `P`.
pub(super) struct OnTheWay<'a, P, W> {
    channel: Arc<Channel>,
    write: P,
    suspicion: &'a Suspicion,
    /// Told of every step of the oldest.
    clock: &'a Clock,
    unwritten: Unwritten<W>,
    unconfirmed: FuturesUnordered<Confirm>,
    verdicts: Verdicts,
    open: Open,
}

impl<'a, P, W> OnTheWay<'a, P, W>
where
    P: Fn(Arc<Channel>, Outgoing) -> W,
    W: Future<Output = Result<PublisherConfirm, Fault>>,
{
    pub(super) fn new(
        channel: Arc<Channel>,
        write: P,
        suspicion: &'a Suspicion,
        clock: &'a Clock,
        refused: Arc<AtomicBool>,
    ) -> Self {
        Self {
            channel,
            write,
            suspicion,
            clock,
            unwritten: Unwritten::new(),
            unconfirmed: FuturesUnordered::new(),
            verdicts: Verdicts::new(suspicion.limit()),
            open: Open { jobs: VecDeque::new(), refused },
        }
    }

    /// Publishes what there is to do until there is no more, or no channel, and everything has its outcome.
    pub(super) async fn work(&mut self, todo: &mut mpsc::UnboundedReceiver<Job>) {
        loop {
            tokio::select! {
                biased;
                () = self.some_steps(), if !self.is_empty() => {}
                job = todo.recv() => match job {
                    Some(Job::Publish(batch)) => self.publish(batch).await,
                    Some(Job::Finish(done)) => {
                        self.drain().await;
                        // Whoever asked may have gone away.
                        let _ = done.send(());
                    }
                    None => break,
                },
            }
            if !self.channel.status().connected() && self.is_empty() {
                break;
            }
        }
        todo.close();
        self.drain().await;
    }

    /// No more is waited for: of what has no answer by now nobody knows what becomes.
    pub(super) fn give_up(mut self) {
        self.sweep();
        self.open.give_up(self.verdicts.next());
    }

    async fn publish(&mut self, Batch { link, messages, done }: Batch) {
        self.open.begin(self.verdicts.next(), messages.len(), link.clone(), done);
        self.clock.begin();
        let mut messages = messages.into_iter();
        while let Some(next) = messages.as_slice().first() {
            if self.suspicion.falls_on(next) {
                if self.publish_next_alone(&mut messages).await {
                    self.renew_channel(&link).await;
                }
            } else if self.unwritten.is_full() {
                self.some_steps().await;
            } else {
                quietly(|| self.begin_some(&mut messages));
            }
        }
        if self.is_empty() {
            self.decide();
        }
    }

    /// Begins to write what comes next, for as long as there is room and it need not go alone.
    fn begin_some(&mut self, messages: &mut IntoIter<Outgoing>) {
        while !self.unwritten.is_full()
            && messages.as_slice().first().is_some_and(|next| !self.suspicion.falls_on(next))
            && let Some(message) = messages.next()
        {
            let (place, bytes) = (self.verdicts.published(&message), message.bytes());
            if let Some(written) = self.unwritten.begin(place, bytes, (self.write)(self.channel.clone(), message)) {
                self.written(place, written);
            }
        }
    }

    /// Publishes what comes next while nothing else is on its way: whether it, and nothing else, cost the channel. Where the
    /// exchange is gone, all that follows would.
    async fn publish_next_alone(&mut self, messages: &mut IntoIter<Outgoing>) -> bool {
        self.drain().await;
        let Some(message) = messages.next() else { return false };
        let place = self.verdicts.published(&message);
        let mut writing = pin!((self.write)(self.channel.clone(), message));
        let written = poll_fn(|context| quietly(|| writing.as_mut().poll(context))).await;
        let answer = match written {
            Ok(confirm) => {
                self.clock.awaits(Some(Awaited::Answer));
                Confirm { place, confirm }.await.1
            }
            Err(fault) => Err(fault),
        };
        let is_to_blame = matches!(&answer, Err(Fault::Failed(source))
            if source.is_amqp_soft_error() && !has_code(source, code::NOT_FOUND));
        self.verdicts.completed_alone(place, answer);
        self.decide();
        is_to_blame
    }

    /// Goes on by another channel, if the server closed this one. Where there is none, all that follows is not sent.
    async fn renew_channel(&mut self, link: &Arc<Link>) {
        if self.channel.status().connected() || link.is_over() || link.is_used_up() {
            return;
        }
        match super::open(link).await {
            Ok(channel) => {
                let former = std::mem::replace(&mut self.channel, Arc::new(channel));
                link.bury(Channel::clone(&former));
            }
            Err(failure) => tracing::debug!(?failure, "no channel takes the place of one that the server closed"),
        }
    }

    /// Waits until everything has its outcome.
    async fn drain(&mut self) {
        while !self.is_empty() {
            self.some_steps().await;
        }
        self.decide();
    }

    /// Waits until something is written or confirmed, and takes all that is.
    async fn some_steps(&mut self) {
        poll_fn(|context| self.poll_step(context)).await;
        self.sweep();
    }

    /// Takes all that is written or confirmed by now.
    ///
    /// When something was seen to be confirmed, so was whatever the client library confirmed before it: by the time that
    /// nothing is left to take, the oldest that is unwritten was not written when the last confirm was seen, and what came
    /// before that confirm is ready among the unconfirmed.
    fn sweep(&mut self) {
        ready::each(|context| self.poll_step(context));
        self.decide();
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready((place, written)) = self.unwritten.poll_next(context) {
            self.written(place, written);
            return Poll::Ready(());
        }
        match std::task::ready!(self.unconfirmed.poll_next_unpin(context)) {
            Some((place, answer)) => {
                self.verdicts.completed(place, answer);
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }

    fn written(&mut self, place: Place, written: Result<PublisherConfirm, Fault>) {
        match written {
            Ok(confirm) => {
                if place == self.verdicts.oldest() {
                    self.clock.awaits(Some(Awaited::Answer));
                }
                self.unconfirmed.push(Confirm { place, confirm });
            }
            Err(fault) => self.verdicts.completed(place, Err(fault)),
        }
    }

    fn is_empty(&self) -> bool {
        self.unwritten.is_empty() && self.unconfirmed.is_empty()
    }

    /// Everything that completed so far is known.
    ///
    /// The server has answered when the oldest has its outcome. That of a newer one alone is no answer: a queue that never
    /// confirms would keep its messages here as long as another one does.
    fn decide(&mut self) {
        let oldest = self.verdicts.oldest();
        self.open.decide(self.verdicts.swept(self.is_empty()));
        if self.verdicts.oldest() > oldest {
            self.clock.awaits(self.awaited());
        }
    }

    /// What the oldest message waits for, on its way or about to be.
    fn awaited(&self) -> Option<Awaited> {
        if self.open.jobs.is_empty() {
            return None;
        }
        let unwritten = self.unwritten.oldest().unwrap_or(self.verdicts.next());
        Some(if self.verdicts.oldest() < unwritten { Awaited::Answer } else { Awaited::Write })
    }
}

/// Writes a message: how to hear whether it is stored.
pub(super) fn write(channel: Arc<Channel>, message: Outgoing) -> impl Future<Output = Result<PublisherConfirm, Fault>> {
    // Here, since what an asynchronous function is given it keeps twice.
    let Outgoing { exchange, routing_key, properties, payload, .. } = message;
    async move {
        if !channel.status().connected() {
            return Err(Fault::NotSent);
        }
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        channel.basic_publish(exchange, routing_key, options, &payload, properties).await.map_err(Fault::failed)
    }
}

/// Waits for what the server says of the message of a place.
struct Confirm {
    place: Place,
    confirm: PublisherConfirm,
}

impl Future for Confirm {
    type Output = (Place, Result<Answer, Fault>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let confirmed = std::task::ready!(Pin::new(&mut self.confirm).poll(context));
        Poll::Ready((self.place, confirmed.map(Answer::from).map_err(Fault::failed)))
    }
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
    /// Kept until then.
    link: Arc<Link>,
    done: oneshot::Sender<Vec<Outcome>>,
}

impl Open {
    /// A job of so many messages, which come next.
    fn begin(&mut self, first: Place, messages: usize, link: Arc<Link>, done: oneshot::Sender<Vec<Outcome>>) {
        let outcomes = (0..messages).map(|_| None).collect();
        self.jobs.push_back(OpenJob { first, outcomes, undecided: messages, link, done });
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
        for OpenJob { first, outcomes, link, done, .. } in self.jobs.drain(..) {
            let sent = next.since(first);
            let without = |number| if number < sent { Outcome::Late } else { Outcome::NotSent };
            let outcomes = outcomes.into_iter().enumerate();
            let outcomes = outcomes.map(|(number, outcome)| outcome.unwrap_or_else(|| without(number)));
            // Before the answer: whoever has it may look for what is left of the connection.
            drop(link);
            // Whoever handed it in may have gone away.
            let _ = done.send(outcomes.collect());
        }
    }
}

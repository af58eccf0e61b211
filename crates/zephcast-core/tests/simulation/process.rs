//! A process of the simulation: a client with members and a publisher, and what handlers do.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, timeout};
use zephcast_core::{Client, Consumer, Delivery, Events, Publisher, Retry, Verdict};

use crate::broker::Broker;
use crate::checks::Busy;
use crate::driver::ModelDriver;
use crate::faults::Link;
use crate::handing_out::number_of;
use crate::handlers::Handlers;
use crate::ledger::{Move, Stage};
use crate::polling::{poll_once, poll_times};

pub(crate) struct Process {
    pub(crate) number: usize,
    pub(crate) client: Client,
    pub(crate) publisher: Publisher,
    pub(crate) workers: Vec<Worker>,
    pub(crate) groups: Vec<Handlers>,
    pub(crate) dead: bool,
    broker: Arc<Broker>,
}

/// A member and the deliveries that its handlers have.
pub(crate) struct Worker {
    pub(crate) member: usize,
    /// `None` once it was closed or dropped.
    pub(crate) consumer: Option<Consumer>,
    pub(crate) held: Vec<Held>,
    /// What was decided since the last commit began.
    since_commit: Vec<usize>,
    pub(crate) events: Events,
    /// A permanent error was handed out.
    pub(crate) ended: bool,
}

pub(crate) struct Held {
    pub(crate) delivery: Delivery,
    pub(crate) handout: usize,
}

/// What a wait for a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Nothing,
    Delivery,
    /// Its handler killed the process.
    Killed,
}

impl Process {
    pub(crate) async fn start(broker: &Arc<Broker>) -> Self {
        let driver = ModelDriver::new(broker.clone());
        let number = driver.process();
        let client = Client::new(Arc::new(driver));
        let publisher =
            client.publisher("stream").in_flight(4).in_flight_bytes(100).timeout(Duration::from_secs(3)).await;
        let publisher = publisher.expect("the model opens every sink");
        Self { number, client, publisher, workers: Vec::new(), groups: Vec::new(), dead: false, broker: broker.clone() }
    }

    /// Joins a member, unless the joining future is dropped before.
    pub(crate) async fn join(&mut self, polls: u32) {
        let (name, setup) = {
            let state = self.broker.open();
            (format!("m{}-{}", self.number, state.members.len()), state.setup)
        };
        let builder = self.client.consumer("stream").group("group").member(&name);
        let builder = builder.prefetch(setup.prefetch).prefetch_bytes(setup.prefetch_bytes).lease(setup.lease);
        let retry = Retry::exponential(Duration::from_millis(50)).max_attempts(setup.attempts);
        let builder = builder.retry(retry).drain(setup.drain);
        let start = builder.ack_flush(setup.flush_count, Duration::from_millis(5)).start();
        let Some(Ok(consumer)) = poll_times(start, polls).await else { return };
        let state = self.broker.open();
        let member = state.members.iter().rposition(|member| member.name == name).expect("it joined");
        let events = consumer.events();
        state.note(|| format!("{name} joined"));
        self.workers.push(Worker {
            member,
            consumer: Some(consumer),
            held: Vec::new(),
            since_commit: Vec::new(),
            events,
            ended: false,
        });
    }

    /// Starts a member that works by `run`; its future is dropped after so many polls at the latest.
    pub(crate) fn run(&mut self, polls: u32, seed: u64) {
        self.groups.push(Handlers::start(&self.broker, &self.client, self.number, polls, seed));
    }

    /// Whether a message killed it in the hands of a handler.
    pub(crate) fn is_killed(&self) -> bool {
        self.broker.open().processes[self.number] == Link::Dead
    }

    /// Waits for the next delivery of a worker, with the future dropped after so many polls.
    pub(crate) async fn receive(&mut self, worker: usize, polls: u32) -> Received {
        let worker = &mut self.workers[worker];
        let Some(consumer) = &mut worker.consumer else { return Received::Nothing };
        let next = timeout(Duration::from_millis(20), poll_times(consumer.next(), polls)).await;
        let delivery = match next {
            Err(_) | Ok(None) => return Received::Nothing,
            Ok(Some(Some(Ok(delivery)))) => delivery,
            Ok(Some(Some(Err(error)))) => {
                let mut state = self.broker.open();
                let truth = state.members[worker.member].forbidden && !worker.ended;
                state.require(truth, || format!("`next` fails with {error}"));
                worker.ended = true;
                return Received::Nothing;
            }
            Ok(Some(None)) => {
                let truth = worker.ended;
                self.broker.open().require(truth, || "`next` ends without a reason".into());
                return Received::Nothing;
            }
        };
        let mut state = self.broker.open();
        let handout = number_of(&delivery);
        state.note(|| format!("handler gets hand-out {handout}"));
        let busy: Vec<Busy> = state.with_handlers(self.number).collect();
        state.check_delivery(worker.member, handout, &delivery, &busy);
        (state.handouts[handout].stage, state.handouts[handout].delivered) = (Stage::Handler(state.now), true);
        state.members[worker.member].delivered += 1;
        let kills = state.messages[state.handouts[handout].message].kills;
        drop(state);
        worker.held.push(Held { delivery, handout });
        if kills {
            self.kill();
            return Received::Killed;
        }
        Received::Delivery
    }

    /// A handler of the worker does what the message's plan says.
    pub(crate) fn settle(&mut self, worker: usize, which: usize) {
        let worker = &mut self.workers[worker];
        let Held { delivery, handout, .. } = worker.held.swap_remove(which);
        let step = self.broker.open().decide(handout);
        let was_lost = delivery.is_lost();
        let result = match step {
            Move::Ack => delivery.ack(),
            Move::Nack => delivery.nack(),
            Move::NackAfter(delay) => delivery.nack_after(Duration::from_millis(delay)),
            Move::Fail => delivery.fail("fails"),
            Move::Reject => delivery.reject("rejected"),
            Move::Drop => {
                drop(delivery);
                Ok(())
            }
        };
        let kind = result.map_err(|error| error.kind());
        if self.broker.open().decided(handout, step, kind, was_lost) {
            worker.since_commit.push(handout);
        }
    }

    /// As [`settle`](Self::settle), and waits until it is at the broker; the future may be dropped on the way.
    pub(crate) fn confirm(&mut self, worker: usize, which: usize, rng: &mut Rng) {
        let step = {
            let state = self.broker.open();
            state.messages[state.handouts[self.workers[worker].held[which].handout].message].next_move()
        };
        let verdict = match step {
            Move::Ack => Verdict::Ack,
            Move::Nack => Verdict::Nack,
            Move::NackAfter(delay) => Verdict::NackAfter(Duration::from_millis(delay)),
            Move::Fail => Verdict::Fail("fails".into()),
            Move::Reject => Verdict::Reject("rejected".into()),
            Move::Drop => return self.settle(worker, which),
        };
        let worker = &mut self.workers[worker];
        let Held { delivery, handout, .. } = worker.held.swap_remove(which);
        self.broker.open().decide(handout);
        let was_lost = delivery.is_lost();
        let mut confirmed = Box::pin(delivery.settle_confirmed(verdict));
        let first = poll_once(confirmed.as_mut());
        let refused =
            first.as_ref().map_or(Ok(()), |result| result.as_ref().map_err(zephcast_core::Error::kind).copied());
        let mut state = self.broker.open();
        if !state.decided(handout, step, refused, was_lost) {
            return;
        }
        worker.since_commit.push(handout);
        if first.is_some() {
            return;
        }
        if rng.bool() {
            state.faults.count("dropped: ack_confirmed");
            return;
        }
        let broker = self.broker.clone();
        tokio::spawn(async move {
            let result = confirmed.await.map_err(|error| error.kind());
            broker.open().check_confirmed(handout, result);
        });
    }

    /// Waits for a commit, dropped after so many polls.
    pub(crate) async fn commit(&mut self, worker: usize, polls: u32) {
        let worker = &mut self.workers[worker];
        let Some(consumer) = &worker.consumer else { return };
        let since = std::mem::take(&mut worker.since_commit);
        self.broker.open().note(|| format!("commit of {since:?}"));
        let commit = timeout(Duration::from_secs(5), poll_times(consumer.commit(), polls)).await;
        let mut state = self.broker.open();
        match commit {
            Ok(Some(result)) => state.check_commit(worker.member, &since, result.map_err(|error| error.kind())),
            Ok(None) | Err(_) => state.faults.count("dropped: commit"),
        }
    }

    /// Closes a worker's consumer in the background; the closing future may be dropped on the way.
    pub(crate) fn close(&mut self, worker: usize, deadline: Duration, polls: u32) {
        let worker = &mut self.workers[worker];
        let Some(consumer) = worker.consumer.take() else { return };
        let (broker, member) = (self.broker.clone(), worker.member);
        {
            let mut state = broker.open();
            let drain = state.setup.drain;
            // A future that is never polled is a consumer that is dropped.
            state.stop(member, if polls == 0 { drain } else { deadline });
        }
        tokio::spawn(async move {
            let began = Instant::now();
            match poll_times(consumer.close(deadline), polls).await {
                Some(result) => broker.open().check_report(member, result, began.elapsed(), deadline),
                None => broker.open().faults.count("dropped: close"),
            }
        });
    }

    /// Drops a worker's consumer without closing it; what handlers have stays with them.
    pub(crate) fn abandon(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        if let Some(consumer) = worker.consumer.take() {
            let drain = self.broker.open().setup.drain;
            self.broker.open().stop(worker.member, drain);
            drop(consumer);
        }
    }

    /// The process dies: nothing of it reaches the broker any more.
    pub(crate) fn kill(&mut self) {
        self.dead = true;
        let mut state = self.broker.open();
        state.note(|| format!("process {} dies", self.number));
        state.processes[self.number] = Link::Dead;
        state.faults.count("processes killed");
        for held in self.workers.iter().flat_map(|worker| &worker.held) {
            state.handouts[held.handout].stage = Stage::Gone;
        }
        for worker in &self.workers {
            state.members[worker.member].stopping = true;
        }
        self.groups.iter_mut().for_each(|group| group.kill(&mut state));
        drop(state);
        for worker in &mut self.workers {
            worker.consumer = None;
            worker.held.clear();
        }
        self.broker.wake();
    }
}

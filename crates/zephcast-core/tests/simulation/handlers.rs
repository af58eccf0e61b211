//! A member that works by `run`, its handlers in order of their keys, until it is told to stop or its future is dropped.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::oneshot;
use tokio::time::sleep;
use zephcast_core::{Client, Delivery, ErrorKind, HandlerError, Retry};

use crate::broker::{Broker, State};
use crate::checks::Busy;
use crate::faults::Link;
use crate::handing_out::number_of;
use crate::ledger::{Move, Stage};
use crate::polling::poll_times;
use crate::schedule::Flavour;

/// The way to a running group of one member. Its task ends with the group.
pub(crate) struct Handlers {
    name: String,
    stop: Option<oneshot::Sender<Infallible>>,
    give_up: Option<oneshot::Sender<Infallible>>,
}

impl Handlers {
    /// Runs a member of this process; its future is dropped after so many polls at the latest.
    pub(crate) fn start(broker: &Arc<Broker>, client: &Client, process: usize, polls: u32, seed: u64) -> Self {
        let (name, setup) = {
            let state = broker.open();
            (format!("h{process}-{}-{seed:x}", state.members.len()), state.setup)
        };
        let group = client.group("stream", "group").member(&name).ordered_by_key().concurrency(1 + seed as usize % 4);
        let group = group.prefetch(setup.prefetch).prefetch_bytes(setup.prefetch_bytes).lease(setup.lease);
        let retry = Retry::exponential(Duration::from_millis(50)).max_attempts(setup.attempts);
        let group = group.retry(retry).drain(setup.drain).ack_flush(setup.flush_count, Duration::from_millis(5));
        let (stop, stopped) = oneshot::channel();
        let (give_up, given_up) = oneshot::channel();
        let (handler, story) = (Handler { broker: broker.clone(), process, seed }, Story::new(broker, &name));
        let told = story.clone();
        let shutdown = async move {
            // Told by dropping the other end.
            let _ = stopped.await;
            told.begin_to_leave();
        };
        tokio::spawn(async move {
            let run = group.run(async move |delivery: &Delivery| handler.handle(delivery).await, shutdown);
            let ended = tokio::select! {
                biased;
                _ = given_up => None,
                ended = poll_times(run, polls) => ended,
            };
            story.end(ended.map(|report| report.map(drop).map_err(|error| error.kind())));
        });
        Self { name, stop: Some(stop), give_up: Some(give_up) }
    }

    /// Resolves its shutdown.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }

    /// Drops its future.
    pub(crate) fn give_up(&mut self) {
        self.give_up = None;
    }

    /// Its process dies.
    pub(crate) fn kill(&mut self, state: &mut State) {
        if let Some(member) = state.member(&self.name) {
            state.members[member].stopping = true;
            state.handlers_end(member);
        }
        self.give_up();
    }
}

/// What becomes of the member as a whole.
#[derive(Clone)]
struct Story {
    broker: Arc<Broker>,
    name: String,
}

impl Story {
    fn new(broker: &Arc<Broker>, name: &str) -> Self {
        Self { broker: broker.clone(), name: name.to_owned() }
    }

    fn begin_to_leave(&self) {
        let mut state = self.broker.open();
        let drain = state.setup.drain;
        if let Some(member) = state.member(&self.name) {
            state.stop(member, drain);
        }
    }

    /// Its future is no more: what handlers had goes back.
    fn end(&self, ended: Option<Result<(), ErrorKind>>) {
        let mut state = self.broker.open();
        state.note(|| format!("{} runs no more: {ended:?}", self.name));
        // Dropped before it joined, or refused.
        let Some(member) = state.member(&self.name) else { return };
        let (forbidden, drain) = (state.members[member].forbidden, state.setup.drain);
        let dead = state.link(member) == Link::Dead;
        match ended {
            None => {
                state.faults.count("dropped: run");
                // One that was dropped while it joined has no engine that could leave.
                if state.members[member].fetched && !state.members[member].stopping {
                    state.stop(member, drain);
                }
                state.members[member].stopping = true;
                if !dead {
                    state.hand_back(member);
                }
                state.handlers_end(member);
            }
            Some(result) => {
                let truth = match result {
                    Ok(()) => state.members[member].stopping || dead,
                    // It joined, and the answer was lost.
                    Err(ErrorKind::Unavailable | ErrorKind::Timeout) => !state.members[member].fetched,
                    Err(_) => forbidden,
                };
                state.require(truth, || format!("`run` ends with {result:?}"));
                state.handlers_end(member);
            }
        }
    }
}

struct Handler {
    broker: Arc<Broker>,
    process: usize,
    seed: u64,
}

impl Handler {
    async fn handle(&self, delivery: &Delivery) -> Result<(), HandlerError> {
        let number = number_of(delivery);
        let mut rng = Rng::with_seed(self.seed ^ number as u64);
        if self.begin(number, delivery) {
            // It never returns, and nothing of its process reaches the broker any more.
            std::future::pending::<Infallible>().await;
        }
        match rng.u8(0..4) {
            0 => {}
            1 => tokio::task::yield_now().await,
            _ => sleep(Duration::from_millis(rng.u64(1..60))).await,
        }
        self.finish(number, delivery)
    }

    /// Notes the start; whether the message kills.
    fn begin(&self, number: usize, delivery: &Delivery) -> bool {
        let mut state = self.broker.open();
        let (member, message) = (state.handouts[number].member, state.handouts[number].message);
        if state.handouts[number].is_with_handler() {
            // In its place, after a failed attempt.
            let (said, expected) = (delivery.attempt(), state.handouts[number].attempt);
            state.require(said == expected, || format!("#{message} says {said} at attempt {expected} in its place"));
            return false;
        }
        state.note(|| format!("handler begins hand-out {number}"));
        let busy: Vec<Busy> = state.with_handlers(self.process).collect();
        state.check_delivery(member, number, delivery, &busy);
        state.check_key(number, &busy);
        let since = state.now;
        (state.handouts[number].stage, state.handouts[number].delivered) = (Stage::Handler(since), true);
        state.members[member].delivered += 1;
        state.faults.count("handlers of groups");
        let kills = state.messages[message].kills;
        if kills {
            state.processes[self.process] = Link::Dead;
        }
        kills
    }

    /// Does what the message's plan says, as far as a handler can.
    fn finish(&self, number: usize, delivery: &Delivery) -> Result<(), HandlerError> {
        let mut state = self.broker.open();
        let step = match state.decide(number) {
            // What a handler does not settle comes again later.
            Move::Nack | Move::Drop => Move::NackAfter(0),
            step => step,
        };
        let (setup, was_lost) = (state.setup, delivery.is_lost());
        let message = state.handouts[number].message;
        if step == Move::Fail && state.handouts[number].attempt < setup.attempts && !was_lost {
            // Tried again in its place, which only a pending list can count.
            state.messages[message].disturbed |= setup.flavour == Flavour::Assigned;
            state.messages[message].decided += 1;
            state.handouts[number].attempt += 1;
        } else {
            // Settled by what is returned from here, in this very poll.
            let result = if was_lost { Err(ErrorKind::LeaseLost) } else { Ok(()) };
            state.decided(number, step, result, was_lost);
        }
        match step {
            Move::Ack => Ok(()),
            Move::Fail => Err(HandlerError::retry("fails")),
            Move::Reject => Err(HandlerError::reject("rejected")),
            Move::NackAfter(delay) => Err(HandlerError::later(Duration::from_millis(delay))),
            Move::Nack | Move::Drop => unreachable!("both come again later"),
        }
    }
}

impl State {
    /// The member of this name, once it joined.
    fn member(&self, name: &str) -> Option<usize> {
        self.members.iter().rposition(|member| member.name == name)
    }

    /// What handlers of a process have. One that waits for its next attempt in its place lets go of what is no longer
    /// ours without a word, so for a group only what is ours counts.
    pub(crate) fn with_handlers(&self, process: usize) -> impl Iterator<Item = Busy> {
        let numbered = self.handouts.iter().enumerate();
        numbered.filter_map(move |(handout, noted)| match noted.stage {
            Stage::Handler(since) => {
                let member = &self.members[noted.member];
                let here = member.process == process && !(member.by_key && noted.ended);
                here.then_some(Busy { handout, since })
            }
            _ => None,
        })
    }

    /// D8: of a key one message is handled at a time, and the first first.
    fn check_key(&mut self, number: usize, busy: &[Busy]) {
        let (member, key) = (self.handouts[number].member, self.key(number));
        let mut others = busy.iter().map(|other| other.handout);
        let beside = others.find(|other| self.handouts[*other].member == member && self.key(*other) == key);
        self.require(beside.is_none(), || format!("{number} begins beside {beside:?} of the same key"));
    }

    /// Handlers were dropped: what they had is handed out again, and a suspect goes back to the group.
    fn hand_back(&mut self, member: usize) {
        for handout in self.handouts.iter_mut().filter(|handout| handout.member == member && !handout.ended) {
            if handout.is_with_handler() {
                let back = Move::Drop.decision(handout.attempt, handout.suspect, u32::MAX);
                handout.stage = back.map_or(Stage::Back, Stage::Decided);
            }
        }
    }

    /// What handlers of this member still have ends with them.
    fn handlers_end(&mut self, member: usize) {
        for handout in self.handouts.iter_mut().filter(|handout| handout.member == member) {
            if handout.is_with_handler() {
                handout.stage = Stage::Gone;
            }
        }
    }
}

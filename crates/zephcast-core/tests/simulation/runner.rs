//! One schedule from its seed on: what goes on and what goes wrong. How it ends is in `ending`.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;
use zephcast_core::Message;

use crate::broker::Broker;
use crate::faults::{Faults, Link, Tally};
use crate::ledger::{Outcome, Record};
use crate::polling::poll_times;
use crate::process::{Process, Received};
use crate::schedule::{Flavour, Setup, Step, plan};

/// Longer than any future of a schedule is polled.
pub(crate) const TO_THE_END: u32 = u32::MAX;

/// Runs the schedule of this seed; what went wrong first is the error.
pub(crate) fn run(seed: u64, trace: bool) -> Result<Tally, String> {
    // The engine draws its jitter from this thread's generator.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async { Simulation::new(seed, trace).run().await })
}

pub(crate) struct Simulation {
    pub(crate) rng: Rng,
    pub(crate) broker: Arc<Broker>,
    pub(crate) processes: Vec<Process>,
    /// Dead ones too, whose members must end all the same.
    pub(crate) gone: Vec<Process>,
    pub(crate) setup: Setup,
}

impl Simulation {
    fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let setup = Setup::draw(&mut rng);
        let faults = Faults::new(rng.u64(..), setup.chances, setup.forbidden);
        let broker = Broker::new(setup, faults, trace);
        broker.open().note(|| format!("{setup:?}"));
        Self { rng, broker, processes: Vec::new(), gone: Vec::new(), setup }
    }

    async fn run(mut self) -> Result<Tally, String> {
        self.processes.push(Process::start(&self.broker).await);
        self.processes[0].join(TO_THE_END).await;
        for _ in 0..self.rng.u32(15..60) {
            self.step().await;
            self.let_others_run().await;
            self.bury();
            self.check()?;
        }
        self.drain().await?;
        self.end().await
    }

    /// What a handler of a group killed is killed as a whole.
    pub(crate) fn bury(&mut self) {
        while let Some(killed) = self.processes.iter().position(Process::is_killed) {
            self.kill(killed);
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let mut state = self.broker.open();
        state.check_left();
        state.violations.first().map_or(Ok(()), |violation| Err(violation.clone()))
    }

    async fn let_others_run(&mut self) {
        match self.rng.u8(0..10) {
            0..5 => {
                for _ in 0..self.rng.u8(1..5) {
                    tokio::task::yield_now().await;
                }
            }
            5..9 => sleep(Duration::from_millis(self.rng.u64(1..30))).await,
            _ => sleep(Duration::from_millis(self.rng.u64(30..500))).await,
        }
    }

    async fn step(&mut self) {
        let step = Step::draw(&mut self.rng, self.setup.killers);
        self.broker.open().note(|| format!("-- {step:?}"));
        let polls = if self.rng.bool() { TO_THE_END } else { self.rng.u32(0..5) };
        let Some(process) = self.living() else {
            return self.processes.push(Process::start(&self.broker).await);
        };
        let workers = self.processes[process].workers.len();
        let worker = self.rng.usize(0..workers.max(1));
        let count = self.rng.usize(1..5);
        match step {
            Step::Publish => self.publish(process, polls),
            Step::Join if self.processes.len() < 3 && self.rng.bool() => {
                self.processes.push(Process::start(&self.broker).await);
            }
            Step::Join if self.rng.bool() => self.run_group(process, polls),
            Step::Join => self.processes[process].join(polls).await,
            Step::Wait => sleep(Duration::from_millis(self.rng.u64(1..4_000))).await,
            Step::Shuffle => self.shuffle(),
            Step::Cut => self.cut(process),
            Step::Kill => self.kill(process),
            _ if workers == 0 => self.processes[process].join(TO_THE_END).await,
            Step::Receive => {
                for _ in 0..count {
                    if self.receive(process, worker, polls).await != Received::Delivery {
                        return;
                    }
                }
            }
            Step::Settle => self.settle(process, worker, count),
            Step::Confirm => {
                let held = self.processes[process].workers[worker].held.len();
                if held > 0 {
                    let which = self.rng.usize(0..held);
                    self.processes[process].confirm(worker, which, &mut self.rng);
                }
            }
            Step::Commit => self.processes[process].commit(worker, polls).await,
            Step::Close | Step::Abandon if !self.processes[process].groups.is_empty() && self.rng.bool() => {
                let groups = &mut self.processes[process].groups;
                let mut group = groups.swap_remove(self.rng.usize(0..groups.len()));
                if step == Step::Close { group.stop() } else { group.give_up() }
            }
            Step::Close => {
                let deadline = Duration::from_millis([0, 50, 1_000, 10_000][self.rng.usize(0..4)]);
                self.processes[process].close(worker, deadline, polls);
            }
            Step::Abandon => self.processes[process].abandon(worker),
            Step::Expire => {
                if self.rng.bool() {
                    // In the middle of giving units up.
                    self.shuffle();
                    sleep(Duration::from_millis(self.rng.u64(0..200))).await;
                }
                let member = self.processes[process].workers[worker].member;
                self.expire(member);
            }
        }
    }

    /// A member whose handlers are called, dropped after some polls or when told so.
    fn run_group(&mut self, process: usize, polls: u32) {
        let polls = if polls == TO_THE_END { polls } else { self.rng.u32(0..80) };
        let seed = self.rng.u64(..);
        self.processes[process].run(polls, seed);
    }

    /// Units move to other members.
    fn shuffle(&self) {
        let mut state = self.broker.open();
        state.rotation += 1;
        if self.setup.flavour == Flavour::Assigned {
            state.rebalance();
        }
        drop(state);
        self.broker.wake();
    }

    /// The member's lease ends at once.
    fn expire(&self, member: usize) {
        let mut state = self.broker.open();
        state.faults.count("leases ended");
        match self.setup.flavour {
            Flavour::Shared => state.expire_shared(member),
            Flavour::Assigned => state.expire_assigned(member),
        }
        drop(state);
        self.broker.wake();
    }

    fn living(&mut self) -> Option<usize> {
        (!self.processes.is_empty()).then(|| self.rng.usize(0..self.processes.len()))
    }

    pub(crate) async fn receive(&mut self, process: usize, worker: usize, polls: u32) -> Received {
        if polls < TO_THE_END {
            self.broker.open().faults.count("dropped: next");
        }
        let received = self.processes[process].receive(worker, polls).await;
        if received == Received::Killed {
            self.gone.push(self.processes.remove(process));
        }
        received
    }

    pub(crate) fn settle(&mut self, process: usize, worker: usize, count: usize) {
        for _ in 0..count {
            let held = self.processes[process].workers[worker].held.len();
            if held > 0 {
                let which = self.rng.usize(0..held);
                self.processes[process].settle(worker, which);
            }
        }
    }

    fn kill(&mut self, process: usize) {
        let mut process = self.processes.remove(process);
        process.kill();
        self.gone.push(process);
    }

    /// The process loses its connection for a while.
    fn cut(&mut self, process: usize) {
        let number = self.processes[process].number;
        let link = if self.rng.bool() { Link::Refused } else { Link::BlackHole };
        let lasting = Duration::from_millis(self.rng.u64(10..6_000));
        let broker = self.broker.clone();
        let mut state = broker.open();
        state.faults.count("connections cut");
        state.note(|| format!("process {number} is cut: {link:?} for {lasting:?}"));
        state.processes[number] = link;
        drop(state);
        broker.wake();
        tokio::spawn(async move {
            sleep(lasting).await;
            let mut state = broker.open();
            if state.processes[number] != Link::Dead {
                state.processes[number] = Link::Up;
            }
            drop(state);
            broker.wake();
        });
    }

    fn publish(&mut self, process: usize, polls: u32) {
        for _ in 0..self.rng.u8(1..4) {
            let number = {
                let mut state = self.broker.open();
                let number = state.messages.len();
                let kills = self.setup.killers && self.rng.u8(0..12) == 0;
                let payload = format!("{number} {}", "x".repeat(self.rng.usize(0..40))).into_bytes();
                let plan = plan(&mut self.rng);
                state.note(|| format!("#{number} is published: {plan:?}, kills {kills}"));
                state.messages.push(Record {
                    payload,
                    plan,
                    kills,
                    decided: 0,
                    stored: Vec::new(),
                    outcome: Outcome::Open,
                    acked: 0,
                    dead: 0,
                    disturbed: false,
                });
                number
            };
            let (publisher, broker) = (self.processes[process].publisher.clone(), self.broker.clone());
            let payload = broker.open().messages[number].payload.clone();
            tokio::spawn(async move {
                let result = poll_times(publisher.publish(Message::new(payload)), polls).await;
                let mut state = broker.open();
                let stored = state.messages[number].stored.first().copied();
                state.messages[number].outcome = match result {
                    None => {
                        state.faults.count("dropped: publish");
                        Outcome::Open
                    }
                    Some(Ok(receipt)) => {
                        let position = receipt.position.map(|position| (position.unit.0, position.token.0));
                        state.require(position == stored && stored.is_some(), || {
                            format!("#{number} is confirmed at {position:?} and stored at {stored:?}")
                        });
                        Outcome::Confirmed
                    }
                    Some(Err(error)) if error.is_unknown() => Outcome::Unknown,
                    Some(Err(_)) => Outcome::Failed,
                };
            });
        }
    }
}

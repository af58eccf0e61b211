//! One schedule from its seed to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep};
use zephcast_core::Message;

use crate::broker::Broker;
use crate::faults::{Faults, Link, Tally};
use crate::ledger::{Outcome, Record};
use crate::polling::{poll_once, poll_times};
use crate::process::{Process, Received};
use crate::schedule::{Flavour, Setup, Step, plan};

/// Longer than any future of a schedule is polled.
const TO_THE_END: u32 = u32::MAX;

/// Longer than anything may take once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the schedule of this seed; what went wrong first is the error.
pub(crate) fn run(seed: u64, trace: bool) -> Result<Tally, String> {
    // The engine draws its jitter from this thread's generator.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async { Simulation::new(seed, trace).run().await })
}

struct Simulation {
    rng: Rng,
    broker: Arc<Broker>,
    processes: Vec<Process>,
    /// Dead ones too, whose members must end all the same.
    gone: Vec<Process>,
    setup: Setup,
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
            self.check()?;
        }
        self.drain().await?;
        self.end().await
    }

    fn check(&self) -> Result<(), String> {
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
            Step::Join => self.processes[process].join(polls).await,
            Step::Wait => sleep(Duration::from_millis(self.rng.u64(1..4_000))).await,
            Step::Shuffle => {
                let mut state = self.broker.open();
                state.rotation += 1;
                if self.setup.flavour == Flavour::Assigned {
                    state.rebalance();
                }
                drop(state);
                self.broker.wake();
            }
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
            Step::Close => {
                let deadline = Duration::from_millis([0, 50, 1_000, 10_000][self.rng.usize(0..4)]);
                self.processes[process].close(worker, deadline, polls);
            }
            Step::Abandon => self.processes[process].abandon(worker),
            Step::Expire => {
                let member = self.processes[process].workers[worker].member;
                let mut state = self.broker.open();
                state.faults.count("leases ended");
                match self.setup.flavour {
                    Flavour::Shared => state.expire_shared(member),
                    Flavour::Assigned => state.expire_assigned(member),
                }
                drop(state);
                self.broker.wake();
            }
        }
    }

    fn living(&mut self) -> Option<usize> {
        (!self.processes.is_empty()).then(|| self.rng.usize(0..self.processes.len()))
    }

    async fn receive(&mut self, process: usize, worker: usize, polls: u32) -> Received {
        if polls < TO_THE_END {
            self.broker.open().faults.count("dropped: next");
        }
        let received = self.processes[process].receive(worker, polls).await;
        if received == Received::Killed {
            self.gone.push(self.processes.remove(process));
        }
        received
    }

    fn settle(&mut self, process: usize, worker: usize, count: usize) {
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

    /// Everything is well again: whatever was stored is handled.
    async fn drain(&mut self) -> Result<(), String> {
        {
            let mut state = self.broker.open();
            state.note(|| "-- everything heals".into());
            state.faults.heal();
            state.processes.iter_mut().filter(|link| **link != Link::Dead).for_each(|link| *link = Link::Up);
        }
        self.broker.wake();
        if self.rng.bool() {
            self.close_all().await?;
        }
        // What is still being published gets its answer.
        sleep(Duration::from_secs(4)).await;
        let began = Instant::now();
        while !self.broker.open().is_drained() {
            self.work_off().await?;
            if began.elapsed() > PATIENCE {
                let state = self.broker.open();
                let left = state
                    .messages
                    .iter()
                    .enumerate()
                    .filter(|(_, record)| !record.stored.is_empty() && record.acked + record.dead == 0);
                let left: Vec<usize> = left.map(|(number, _)| number).collect();
                return Err(format!("nothing goes wrong any more, and this is not settled, unhandled {left:?}"));
            }
        }
        // Nothing comes again.
        let delivered: u64 = self.broker.open().members.iter().map(|member| member.delivered).sum();
        for _ in 0..3 {
            sleep(self.setup.lease).await;
            self.work_off().await?;
        }
        let now: u64 = self.broker.open().members.iter().map(|member| member.delivered).sum();
        match delivered == now {
            true => Ok(()),
            false => Err("something is delivered again although all is settled".into()),
        }
    }

    /// Handlers do all there is to do now.
    async fn work_off(&mut self) -> Result<(), String> {
        let idle = |process: &Process| !process.workers.iter().any(|worker| worker.consumer.is_some());
        if self.processes.iter().all(idle) {
            let mut process = Process::start(&self.broker).await;
            process.join(TO_THE_END).await;
            self.processes.push(process);
        }
        let mut process = 0;
        'processes: while process < self.processes.len() {
            for worker in 0..self.processes[process].workers.len() {
                loop {
                    self.settle(process, worker, usize::MAX.min(64));
                    match self.receive(process, worker, TO_THE_END).await {
                        Received::Delivery => {}
                        Received::Nothing => break,
                        Received::Killed => continue 'processes,
                    }
                }
                if self.processes[process].workers[worker].ended {
                    self.processes[process].close(worker, Duration::from_secs(5), TO_THE_END);
                }
            }
            process += 1;
        }
        sleep(Duration::from_millis(100)).await;
        self.check()
    }

    /// Every member leaves, with nothing in its handlers' hands.
    async fn close_all(&mut self) -> Result<(), String> {
        for process in 0..self.processes.len() {
            for worker in 0..self.processes[process].workers.len() {
                self.settle(process, worker, 64);
                self.processes[process].close(worker, Duration::from_secs(20), TO_THE_END);
            }
        }
        sleep(Duration::from_secs(21)).await;
        self.check()
    }

    async fn end(mut self) -> Result<Tally, String> {
        self.close_all().await?;
        for process in &self.processes {
            let closed = process.client.close(Duration::from_secs(5)).await;
            closed.map_err(|error| format!("the client does not close: {error}"))?;
        }
        let workers = self.processes.drain(..).chain(self.gone.drain(..)).flat_map(|process| process.workers);
        let mut events: Vec<_> = workers.map(|worker| (worker.member, worker.events)).collect();
        sleep(self.setup.drain + Duration::from_secs(10)).await;
        self.check()?;
        for (member, events) in &mut events {
            // The last event of a member comes when nothing keeps its core.
            while poll_once(std::pin::pin!(unconstrained(events.next())))
                .ok_or_else(|| format!("member {member} is kept alive"))?
                .is_some()
            {}
        }
        let mut state = self.broker.open();
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        state.require(tasks == 0, || format!("{tasks} tasks are left"));
        let payloads = state.payloads.load(Ordering::Relaxed);
        state.require(payloads == 0, || format!("{payloads} payloads are kept alive by something"));
        state.check_messages();
        drop(state);
        self.check()?;
        let mut state = self.broker.open();
        let deliveries = state.members.iter().map(|member| member.delivered).sum();
        state.faults.tally.insert("deliveries".into(), deliveries);
        Ok(std::mem::take(&mut state.faults.tally))
    }
}

impl crate::broker::State {
    /// D1, D2, F3, F5: everything that was stored ended where it should, and nothing else was.
    fn check_messages(&mut self) {
        for number in 0..self.messages.len() {
            let record = &self.messages[number];
            let (stored, ends) = (record.stored.len(), (record.acked, record.dead));
            let said = match record.outcome {
                Outcome::Confirmed => stored == 1,
                Outcome::Failed => stored == 0,
                Outcome::Open | Outcome::Unknown => stored <= 1,
            };
            let outcome = record.outcome;
            let doomed = record.kills || record.is_doomed(self.setup.attempts);
            let expected = match (record.disturbed, doomed) {
                _ if stored == 0 => ends == (0, 0),
                (false, true) => ends == (0, 1),
                (false, false) => ends == (1, 0),
                // Deaths and lost leases count as attempts, but for those of a killer's neighbours.
                (true, _) if self.setup.killers && !record.may_fail() => {
                    (ends.1 > 0) == record.kills && ends.0 + ends.1 > 0
                }
                (true, _) => ends.0 + ends.1 > 0,
            };
            self.require(said, || format!("#{number} is stored {stored} times, the publisher says {outcome:?}"));
            self.require(expected, || format!("#{number} ends acked and dead {ends:?} times"));
        }
    }
}

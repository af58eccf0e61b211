//! The end of a schedule: everything heals, everything that was stored is handled, and nothing is left.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, sleep};

use crate::faults::{Link, Tally};
use crate::handlers::Handlers;
use crate::ledger::Outcome;
use crate::polling::poll_once;
use crate::process::{Process, Received};
use crate::runner::{Simulation, TO_THE_END};

/// Longer than anything may take once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(120);

impl Simulation {
    /// Everything is well again: whatever was stored is handled.
    pub(crate) async fn drain(&mut self) -> Result<(), String> {
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
                    self.settle(process, worker, 64);
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
        self.bury();
        self.check()
    }

    /// Every member leaves, with nothing in its handlers' hands.
    async fn close_all(&mut self) -> Result<(), String> {
        for process in 0..self.processes.len() {
            self.processes[process].groups.iter_mut().for_each(Handlers::stop);
            for worker in 0..self.processes[process].workers.len() {
                self.settle(process, worker, 64);
                self.processes[process].close(worker, Duration::from_secs(20), TO_THE_END);
            }
        }
        sleep(Duration::from_secs(21)).await;
        self.bury();
        self.check()
    }

    pub(crate) async fn end(mut self) -> Result<Tally, String> {
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
                    ((ends.1 > 0) == record.kills || record.is_put_back()) && ends.0 + ends.1 > 0
                }
                (true, _) => ends.0 + ends.1 > 0,
            };
            self.require(said, || format!("#{number} is stored {stored} times, the publisher says {outcome:?}"));
            self.require(expected, || format!("#{number} ends acked and dead {ends:?} times"));
        }
    }
}

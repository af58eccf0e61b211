//! The settling loop: collects what deliveries decided, writes it in batches, and keeps what could not be written.
//!
//! Acks go in one call, everything else in another, so that a message which cannot be dead-lettered does not hold up
//! the acks of others, nor the dead letters and retries of other messages. Nothing is given up while the member lives: a
//! failed call is repeated with the same settlements.

mod others;
mod waiting;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::deadline::after;
use crate::driver::{Disposition, Settlement, Settler, Undurable};
use crate::retry::Reconnect;
use crate::{Error, ErrorKind, Event, Result, Token, UnitId};

use super::core::{Confirm, MemberCore, PROMPT_HAND_BACKS, Request};
use super::flight::{Item, Slot};
use super::slots::Epoch;

const LONGEST_HAND_BACK: Duration = Duration::from_secs(1);

pub(crate) struct Settling {
    core: Arc<MemberCore>,
    settler: Arc<dyn Settler>,
    /// Acks that were collected and not confirmed yet.
    acks: Option<Collected>,
    acks_pace: Pace,
    /// What is to be settled otherwise, by number.
    others: BTreeMap<u64, Other>,
    /// While the broker is away, nothing of them is tried.
    others_pace: Pace,
    next_number: u64,
    /// Sweeps of acks so far; up to which of them the driver has everything; and up to which of them everything is
    /// durable or lost.
    sweeps: u64,
    recorded_sweeps: u64,
    durable_sweeps: u64,
    commit_pace: Pace,
    /// When what was acked and not collected must be flushed.
    flush_at: Option<Instant>,
    /// Whether something was settled otherwise than by an ack since the last sweep: the frontier may pass it now.
    frontier_may_move: bool,
    /// Deliveries that are handed out again at a time.
    again: BTreeMap<(Instant, u64), Item>,
    waiting: Vec<Waiting>,
    /// Settlements that came too late since the last commit.
    lost_since_commit: u64,
    /// Whether there are some since then of which nobody knows whether they count.
    unknown_since_commit: bool,
}

/// Acks on their way, and the assignments to which they belong.
struct Collected {
    settlement: Settlement,
    assignments: Vec<(UnitId, Arc<Epoch>)>,
}

/// Something that is not an ack, until the broker has it.
struct Other {
    slot: Slot,
    disposition: Disposition,
    done: Option<Confirm>,
    /// Whether an earlier call with it failed, so that it may have been done.
    again: bool,
    /// Once it failed in company: it is tried alone, at a pace of its own.
    alone: Option<Pace>,
}

/// Somebody who waits until everything before a point is durable.
struct Waiting {
    /// Numbers below this one must be through.
    others_before: u64,
    /// This sweep must be durable.
    sweep: u64,
    /// Whether the driver has the ack of the delivery that is awaited.
    is_recorded: bool,
    what: Awaited,
    done: Confirm,
}

enum Awaited {
    Everything,
    /// Everything, without a word on what came too late.
    EverythingOrLost,
    Delivery(Slot),
}

/// When a call may be made again after a failure.
#[derive(Default)]
struct Pace {
    not_before: Option<Instant>,
    backoff: Option<Reconnect>,
}

impl Settling {
    pub(crate) fn new(core: Arc<MemberCore>, settler: Arc<dyn Settler>) -> Self {
        Self {
            core,
            settler,
            acks: None,
            acks_pace: Pace::default(),
            others: BTreeMap::new(),
            others_pace: Pace::default(),
            next_number: 0,
            sweeps: 0,
            recorded_sweeps: 0,
            durable_sweeps: 0,
            commit_pace: Pace::default(),
            flush_at: None,
            frontier_may_move: false,
            again: BTreeMap::new(),
            waiting: Vec::new(),
            lost_since_commit: 0,
            unknown_since_commit: false,
        }
    }

    /// Runs until dropped. Whatever ends the member waits for a commit first.
    pub(crate) async fn run(mut self) {
        let core = self.core.clone();
        loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = core.settle.notified() => {}
                () = sleep_until(wake) => {}
            }
            core.read_clock();
            self.take_requests();
            self.hand_out_again();
            self.flush_acks().await;
            self.flush_others().await;
            self.commit().await;
            self.arm();
            self.answer();
            core.progress.notify_waiters();
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let again = self.again.keys().next().map(|(at, _)| *at);
        let acks = if self.acks.is_some() { self.acks_pace.not_before } else { self.flush_at };
        let others = self.others.values().filter_map(|other| {
            let own = other.alone.as_ref().and_then(|pace| pace.not_before);
            own.max(self.others_pace.not_before)
        });
        let others = others.min();
        let commit = if self.commit_is_awaited() { self.commit_pace.not_before } else { None };
        [again, acks, others, commit].into_iter().flatten().min()
    }

    /// Whatever was settled and not collected has a time at which it is flushed, also when it was settled while a flush
    /// was on its way or failing and the wake-up for it was spent on that.
    fn arm(&mut self) {
        if self.core.unswept() > 0 || self.frontier_may_move {
            self.flush_at.get_or_insert_with(|| after(Instant::now(), self.core.settings.flush_after));
        }
    }

    fn take_requests(&mut self) {
        for request in self.core.take_requests() {
            match request {
                Request::Again(item) => self.again(item),
                Request::Later { item, delay, attempts, first_failed_ms, done } => {
                    self.later(&item, delay, attempts, first_failed_ms, done);
                }
                Request::Dead { item, attempts, failure, done } => {
                    let (message, origin) = (Box::new(item.message().clone()), item.origin());
                    let published_ms = item.incoming().published_ms;
                    let dead = Disposition::Dead { message, origin, published_ms, attempts, failure };
                    self.other(item.slot(), dead, done);
                }
                Request::Keep { slot, attempts } => self.other(slot, Disposition::Keep { attempts }, None),
                Request::AckConfirmed { slot, done } if slot.is_lost() => {
                    self.lost_since_commit += 1;
                    self.core.lose_other(&slot);
                    self.core.settled();
                    answer(Some(done), Err(lease_lost()));
                }
                Request::AckConfirmed { slot, done } => {
                    // Acked here and not by the delivery, so that no flush can come between the ack and the wait.
                    slot.slots.ack(slot.index);
                    self.core.settled();
                    self.wait(Awaited::Delivery(slot), done);
                }
                Request::Commit(done) => self.wait(Awaited::Everything, done),
                Request::Flush(done) => self.wait(Awaited::EverythingOrLost, done),
            }
        }
    }

    /// Hands a delivery out again, each time later.
    fn again(&mut self, item: Item) {
        if item.incoming().suspect && !self.core.queue.is_closed() {
            // Held here it would be blamed for the next suspect's kill; the group has it again, by way of the broker.
            let attempts = item.attempt().saturating_sub(1);
            return self.later(&item, Duration::ZERO, attempts, item.first_failed_ms(), None);
        }
        let beyond = item.slots().handed_back(item.index).saturating_sub(PROMPT_HAND_BACKS);
        let delay = Duration::from_millis(1 << beyond.min(10)).min(LONGEST_HAND_BACK);
        self.next_number += 1;
        self.again.insert((Instant::now() + delay, self.next_number), item);
    }

    fn later(
        &mut self,
        item: &Item,
        delay: Duration,
        attempts: u32,
        first_failed_ms: Option<u64>,
        done: Option<Confirm>,
    ) {
        let (message, origin) = (Box::new(item.message().clone()), item.origin());
        let published_ms = item.incoming().published_ms;
        let later = Disposition::Later { delay, attempts, message, origin, published_ms, first_failed_ms };
        self.other(item.slot(), later, done);
    }

    fn hand_out_again(&mut self) {
        if self.again.is_empty() {
            return;
        }
        let later = self.again.split_off(&(Instant::now(), u64::MAX));
        for item in std::mem::replace(&mut self.again, later).into_values() {
            self.core.queue.push_again(item);
        }
    }

    fn wait(&mut self, what: Awaited, done: Confirm) {
        // Whoever asks again and again, and waits for no answer, leaves nothing behind.
        self.waiting.retain(|waiting| !waiting.done.is_closed());
        let others_before = if matches!(what, Awaited::Delivery(_)) { 0 } else { self.next_number };
        let sweep = self.sweeps + u64::from(self.core.unswept() > 0 || self.frontier_may_move);
        self.waiting.push(Waiting { others_before, sweep, is_recorded: false, what, done });
    }

    /// Whether somebody waits for acks that are not collected yet.
    fn sweep_is_awaited(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.sweep > self.sweeps)
    }

    /// Everything that was collected is with the driver, or lost.
    fn sweep_is_recorded(&mut self) {
        self.acks_pace.succeeded();
        self.recorded_sweeps = self.sweeps;
    }

    /// Whether somebody waits for what the driver has and has not made durable.
    fn commit_is_awaited(&self) -> bool {
        let undurable = self.durable_sweeps + 1..=self.recorded_sweeps;
        self.waiting.iter().any(|waiting| undurable.contains(&waiting.sweep))
    }

    /// Makes durable what somebody waits for.
    async fn commit(&mut self) {
        if !self.commit_is_awaited() || !self.commit_pace.may_go() {
            return;
        }
        match self.settler.commit().await {
            Ok(undurable) => {
                self.commit_pace.succeeded();
                self.durable_sweeps = self.recorded_sweeps;
                self.note_undurable(&undurable);
            }
            Err(error) => {
                self.failed(&error);
                self.refuse(&error, |_| true);
                self.commit_pace.failed();
            }
        }
    }

    fn note_undurable(&mut self, Undurable { lost, unknown, unknown_of_lost }: &Undurable) {
        self.lost_since_commit += lost.len() as u64;
        self.unknown_since_commit |= !(unknown.is_empty() && unknown_of_lost.is_empty());
        let durable_sweeps = self.durable_sweeps;
        let is_unknown = |waiting: &mut Waiting| match &waiting.what {
            Awaited::Delivery(slot) if waiting.sweep <= durable_sweeps && waiting.is_recorded && !slot.is_gone() => {
                let unit = slot.key().0;
                if lost.contains(&unit) {
                    slot.slots.lose(slot.index);
                    return false;
                }
                unknown.contains(&unit) || (unknown_of_lost.contains(&unit) && slot.is_lost())
            }
            _ => false,
        };
        for waiting in self.waiting.extract_if(.., is_unknown).collect::<Vec<_>>() {
            answer(Some(waiting.done), Err(outcome_unknown()));
        }
    }

    /// Writes collected acks when it is time: enough of them, long enough, nothing else to do, or somebody waits.
    async fn flush_acks(&mut self) {
        if !self.acks_pace.may_go() {
            return;
        }
        if self.acks.is_none() && !self.collect() {
            return;
        }
        let Some(mut collected) = self.acks.take() else { return };
        self.drop_acks_of_former_assignments(&mut collected);
        if collected.settlement.units.is_empty() {
            return self.sweep_is_recorded();
        }
        match self.settler.settle(&collected.settlement).await {
            Ok(lost) => {
                self.sweep_is_recorded();
                self.core.window().confirmed();
                self.note_recorded(&collected.settlement);
                let count: usize = collected.settlement.units.iter().map(|unit| unit.acked.len()).sum();
                self.core.counters.acked.fetch_add((count - lost.len().min(count)) as u64, Ordering::Relaxed);
                self.note_lost(&collected, &lost);
            }
            Err(error) => {
                self.failed(&error);
                self.refuse(&error, |_| true);
                self.acks_pace.failed();
                collected.settlement.again = true;
                self.acks = Some(collected);
            }
        }
    }

    /// The unit may be ours again by now; what was done under its former assignment is not for this one.
    fn drop_acks_of_former_assignments(&mut self, collected: &mut Collected) {
        let mut late = 0;
        collected.settlement.units.retain(|unit| {
            let ended = collected.assignments.iter().any(|(id, epoch)| *id == unit.unit && epoch.is_lost());
            late += if ended { unit.acked.len() as u64 } else { 0 };
            !ended
        });
        self.lost_since_commit += late;
        self.core.counters.lease_lost.fetch_add(late, Ordering::Relaxed);
    }

    /// Collects acks if they are due. `false` when there is nothing to write.
    fn collect(&mut self) -> bool {
        let unswept = self.core.unswept();
        if unswept == 0 && !self.sweep_is_awaited() && !self.frontier_may_move {
            self.flush_at = None;
            return false;
        }
        let due = unswept >= self.core.settings.flush_count
            || self.core.is_eager()
            || self.sweep_is_awaited()
            || self.flush_at.is_some_and(|at| at <= Instant::now());
        if !due {
            return false;
        }
        self.flush_at = None;
        self.frontier_may_move = false;
        self.core.mark_swept();
        self.sweeps += 1;
        let (settlement, assignments) = {
            let mut window = self.core.window();
            (window.sweep(), window.assignments())
        };
        self.core.room.notify_one();
        if settlement.units.is_empty() {
            self.sweep_is_recorded();
            return false;
        }
        self.acks = Some(Collected { settlement, assignments });
        true
    }

    fn note_recorded(&mut self, settlement: &Settlement) {
        let mut recorded: Option<HashSet<(UnitId, Token)>> = None;
        for waiting in &mut self.waiting {
            let Awaited::Delivery(slot) = &waiting.what else { continue };
            let recorded = recorded.get_or_insert_with(|| {
                let units = settlement.units.iter();
                units.flat_map(|unit| unit.acked.iter().map(|token| (unit.unit, *token))).collect()
            });
            waiting.is_recorded |= recorded.contains(&slot.key());
        }
    }

    /// A lost ack is told to those who hold the delivery's slot, by its token.
    fn note_lost(&mut self, collected: &Collected, lost: &[(UnitId, Token)]) {
        if lost.is_empty() {
            return;
        }
        let units = &collected.settlement.units;
        debug_assert!(lost.iter().all(|(unit, _)| units.iter().any(|settled| settled.unit == *unit)));
        self.lost_since_commit += lost.len() as u64;
        for waiting in &self.waiting {
            if let Awaited::Delivery(slot) = &waiting.what
                && lost.contains(&slot.key())
            {
                slot.slots.lose(slot.index);
            }
        }
        self.core.lose_settled(&collected.assignments, lost);
    }

    fn failed(&mut self, error: &Error) {
        tracing::warn!(%error, stream = %self.core.subscription.stream, "settlements could not be written, kept");
        self.core.emit(Event::SettleFailed(error.clone()));
        if ends_the_member(error.kind()) {
            self.core.break_off(error.clone());
        }
    }

    /// Tells those who wait for what was refused for good.
    fn refuse(&mut self, error: &Error, concerns: impl Fn(&Waiting) -> bool) {
        if error.is_retryable() {
            return;
        }
        for waiting in self.waiting.extract_if(.., |waiting| concerns(waiting)).collect::<Vec<_>>() {
            answer(Some(waiting.done), Err(error.clone()));
        }
    }
}

impl Pace {
    fn may_go(&self) -> bool {
        self.not_before.is_none_or(|at| at <= Instant::now())
    }

    fn failed(&mut self) {
        self.not_before = Some(Instant::now() + self.backoff.get_or_insert_with(Reconnect::new).failed());
    }

    fn succeeded(&mut self) {
        *self = Self::default();
    }
}

/// Whether a settlement was refused for a reason that is no message's own and does not pass.
fn ends_the_member(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::Auth | ErrorKind::WrongType | ErrorKind::Unsupported)
}

fn answer(done: Option<Confirm>, result: Result<()>) {
    if let Some(done) = done {
        // Whoever asked may have stopped waiting.
        let _ = done.send(result);
    }
}

pub(crate) fn lease_lost() -> Error {
    Error::new(ErrorKind::LeaseLost, "settle", "the message is, or will be, with another member")
}

fn outcome_unknown() -> Error {
    let text =
        "the connection was lost before the broker said that it has it: either it counts, or the message comes again";
    Error::new(ErrorKind::Unavailable, "settle", text)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

//! What a member's task, its consumer and its deliveries share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::driver::{Failure, Subscription};
use crate::{CloseReport, Error, Event, Position, PositionStyle, Result, Retry, Token, UnitId};

use super::flight::{Item, Slot};
use super::isolation::Isolation;
use super::outage::Outage;
use super::queue::DeliveryQueue;
use super::slots::{Epoch, Slots};
use super::window::Window;

/// Events that a slow reader may fall behind before it misses the oldest.
const EVENT_BACKLOG: usize = 1_024;

/// Hand-backs of one message that are repeated at once; later ones wait, so that a message nobody wants is no hot loop.
pub(super) const PROMPT_HAND_BACKS: u32 = 3;

/// How a member works; every field has a documented default at the builder.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) prefetch_bytes: usize,
    pub(crate) retry: Retry,
    pub(crate) drain: Duration,
    pub(crate) flush_count: u64,
    pub(crate) flush_after: Duration,
}

/// What a delivery asks of the member's task. Acks do not come this way: they are bits in the flight.
#[derive(Debug)]
pub(crate) enum Request {
    /// Hand it out again after a while; the attempt does not count.
    Again(Item),
    /// The group gets it again later.
    Later { item: Item, delay: Duration, attempts: u32, first_failed_ms: Option<u64>, done: Option<Confirm> },
    /// To the dead letters.
    Dead { item: Item, attempts: u32, failure: Failure, done: Option<Confirm> },
    /// It stays here and is tried again; so many attempts count.
    Keep { slot: Slot, attempts: u32 },
    /// Ack this delivery, and say when that is durable.
    AckConfirmed { slot: Slot, done: Confirm },
    /// Say when everything before is durable, and whether some of it came too late since the last commit.
    Commit(Confirm),
    /// Say when everything before is durable or lost.
    Flush(Confirm),
}

/// Where the answer to a request goes.
pub(crate) type Confirm = oneshot::Sender<Result<()>>;

/// Counters of a member's life. Written by deliveries and the member's task, read by reports.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) acked: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) lease_lost: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct MemberCore {
    pub(crate) subscription: Subscription,
    pub(crate) settings: Settings,
    pub(crate) positions: PositionStyle,
    pub(crate) queue: DeliveryQueue,
    pub(crate) counters: Counters,
    pub(crate) isolation: Arc<Isolation>,
    /// This member's number in the isolation.
    pub(crate) number: u64,
    window: Mutex<Window>,
    /// `None` once the member ended: a request then holds nothing any more.
    requests: Mutex<Option<VecDeque<Request>>>,
    events: broadcast::Sender<Event>,
    /// Kept for the first reader, so that it misses nothing since joining.
    first_events: Mutex<Option<broadcast::Receiver<Event>>>,
    /// Deliveries handed out, redeliveries included. Written by the consumer only.
    handed: AtomicU64,
    /// Deliveries settled or come back. Written by deliveries.
    settled: AtomicU64,
    /// `settled` as of the last sweep. Written by the settling loop.
    swept: AtomicU64,
    /// Acks that were recorded and then lost with their assignment, until a commit tells it.
    pub(crate) late_acks: AtomicU64,
    /// Written by the intake and by renewals.
    pub(super) outage: Mutex<Option<Outage>>,
    /// How many wait for every single settlement: a parked consumer, a revocation, a drain.
    eager: AtomicUsize,
    /// Whether the consumer waits with nothing to hand out. Written by the consumer.
    parked: AtomicBool,
    /// Signalled when the consumer begins to wait.
    asks: Notify,
    /// Wakes the settling loop.
    pub(crate) settle: Notify,
    /// Wakes the intake when room was freed, or at a stop.
    pub(crate) room: Notify,
    /// Signalled after every step of the settling loop.
    pub(crate) progress: Notify,
    /// Signalled when deliveries were lost.
    pub(crate) losses: Notify,
    /// Held while a renewal is on its way, and from leaving on: a member that left is not renewed.
    pub(crate) renewing: tokio::sync::Mutex<()>,
    /// Set when the broker refuses settlements for good: nothing more is fetched or handed out.
    broken: watch::Sender<bool>,
    started_at: Instant,
    /// Milliseconds since `started_at`, read once a batch.
    now_ms: AtomicU64,
}

impl MemberCore {
    pub(crate) fn new(
        subscription: Subscription,
        settings: Settings,
        positions: PositionStyle,
        isolation: Arc<Isolation>,
    ) -> Arc<Self> {
        let (events, first) = broadcast::channel(EVENT_BACKLOG);
        let number = isolation.number();
        let core = Arc::new(Self {
            subscription,
            settings,
            positions,
            queue: DeliveryQueue::default(),
            counters: Counters::default(),
            number,
            window: Mutex::new(Window::new()),
            requests: Mutex::new(Some(VecDeque::new())),
            events,
            first_events: Mutex::new(Some(first)),
            handed: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            late_acks: AtomicU64::new(0),
            outage: Mutex::new(None),
            eager: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            asks: Notify::new(),
            settle: Notify::new(),
            room: Notify::new(),
            progress: Notify::new(),
            losses: Notify::new(),
            renewing: tokio::sync::Mutex::new(()),
            broken: watch::Sender::new(false),
            started_at: Instant::now(),
            now_ms: AtomicU64::new(1),
            isolation,
        });
        core.isolation.register(Arc::downgrade(&core));
        core
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room left in the window: messages and bytes.
    pub(crate) fn room(&self) -> (usize, usize) {
        let (open, bytes) = self.window().in_flight();
        (self.subscription.prefetch.saturating_sub(open), self.settings.prefetch_bytes.saturating_sub(bytes))
    }

    /// Takes back what its holder did not settle: handed out again at once the first times, then ever later.
    pub(crate) fn hand_back(&self, item: Item) {
        let slots = item.slots();
        slots.take_back(item.index);
        if item.incoming().suspect || slots.count_hand_back(item.index) > PROMPT_HAND_BACKS {
            return self.request(Request::Again(item));
        }
        self.queue.push_again(item);
    }

    /// Deliveries that somebody has.
    pub(crate) fn started(&self) -> u64 {
        self.handed.load(Ordering::SeqCst).saturating_sub(self.settled.load(Ordering::SeqCst))
    }

    /// Counts a hand-out, unless a suspect just got its turn; the item has to wait then.
    pub(crate) fn hand_out(&self, slots: &Slots, index: usize, is_suspect: bool) -> bool {
        // The consumer is the only writer. Counted before looking: a suspect's turn begins by the holder being set and
        // then waits for the count, so one of the two sees the other.
        let handed = self.handed.load(Ordering::Relaxed);
        self.handed.store(handed + 1, Ordering::SeqCst);
        let in_turn = self.isolation.is_on();
        if in_turn && !is_suspect {
            self.handed.store(handed, Ordering::SeqCst);
        } else {
            self.mark_handed(slots, index);
        }
        if in_turn {
            self.isolation.progressed();
        }
        is_suspect || !in_turn
    }

    /// Notes when somebody began to work on it.
    pub(crate) fn mark_handed(&self, slots: &Slots, index: usize) {
        slots.hand_out(index, self.now_ms.load(Ordering::Relaxed));
    }

    /// Records that a delivery is out of its holder's hands, and wakes the settling loop when it has to know.
    pub(crate) fn settled(&self) {
        // Sequentially consistent with `mark_swept`: either this sees the new mark, or the settling loop, which looks
        // once more after marking, sees this settlement.
        let settled = self.settled.fetch_add(1, Ordering::SeqCst) + 1;
        let unswept = settled.saturating_sub(self.swept.load(Ordering::SeqCst));
        if unswept == 1 || unswept == self.settings.flush_count || self.is_eager() {
            self.settle.notify_one();
        }
        self.isolation.progressed();
    }

    pub(crate) fn request(&self, request: Request) {
        match &request {
            Request::Later { item, .. } | Request::Dead { item, .. } => item.slots().decide(item.index),
            Request::AckConfirmed { slot, .. } => slot.slots.decide(slot.index),
            Request::Again(_) | Request::Keep { .. } | Request::Commit(_) | Request::Flush(_) => {}
        }
        if let Some(requests) = &mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            requests.push_back(request);
            self.settle.notify_one();
        }
    }

    pub(crate) fn take_requests(&self) -> VecDeque<Request> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The member ended: nothing is ours any more, and nothing keeps this core alive but those who look at it.
    pub(crate) fn end(&self) {
        let units = self.window().units();
        self.end_units(&units);
        *self.window() = Window::new();
        drop(self.queue.close());
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The broker refuses what this member settles, and always will: handing out more would only repeat work.
    pub(crate) fn break_off(&self, error: Error) {
        if !self.broken.send_replace(true) {
            drop(self.queue.close());
            self.queue.fail(error);
        }
    }

    /// Becomes true when it is broken off.
    pub(crate) fn broken(&self) -> watch::Receiver<bool> {
        self.broken.subscribe()
    }

    /// How many were settled since the last sweep.
    pub(crate) fn unswept(&self) -> u64 {
        self.settled.load(Ordering::SeqCst).saturating_sub(self.swept.load(Ordering::SeqCst))
    }

    /// Notes that everything settled so far is being swept. Called before the sweep, so that none is overlooked.
    pub(crate) fn mark_swept(&self) {
        self.swept.store(self.settled.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Whether settlements are to be flushed one by one.
    pub(crate) fn is_eager(&self) -> bool {
        self.parked.load(Ordering::Relaxed) || self.eager.load(Ordering::Relaxed) > 0
    }

    /// Flushes every settlement at once while the guard lives.
    pub(crate) fn be_eager(&self) -> impl Drop + '_ {
        struct Eager<'a>(&'a AtomicUsize);
        impl Drop for Eager<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.eager.fetch_add(1, Ordering::SeqCst);
        self.settle.notify_one();
        Eager(&self.eager)
    }

    /// The consumer waits with nothing to hand out, or no longer does.
    pub(crate) fn park(&self, parked: bool) {
        self.parked.store(parked, Ordering::SeqCst);
        if parked {
            self.asks.notify_one();
        }
        if parked && self.unswept() > 0 {
            self.settle.notify_one();
        }
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed)
    }

    /// The consumer's wait came to nothing: it was given up. A true one begins anew when it is woken.
    pub(crate) fn stop_asking(&self) {
        self.parked.store(false, Ordering::SeqCst);
        self.queue.wake();
    }

    /// Waits until the consumer waits for a delivery.
    pub(crate) async fn asked(&self) {
        while !self.parked.load(Ordering::SeqCst) {
            self.asks.notified().await;
        }
    }

    /// Reads the clock for what happens until the next reading.
    pub(crate) fn read_clock(&self) -> u64 {
        let now = u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        self.now_ms.store(now, Ordering::Relaxed);
        now
    }

    pub(crate) fn position(&self, unit: UnitId, token: Token) -> Position {
        Position::new(self.positions, unit, token)
    }

    /// Ends the assignment of units, and notes the acks that came too late with it.
    pub(crate) fn end_units(&self, units: &[UnitId]) {
        for unit in units {
            let ended = self.window().end(*unit);
            tracing::debug!(%unit, open = ended.open, acked = ended.acked, "assignment ended");
            self.counters.lease_lost.fetch_add(ended.acked, Ordering::Relaxed);
            self.late_acks.fetch_add(ended.acked, Ordering::SeqCst);
        }
        self.losses.notify_waiters();
        self.progress.notify_waiters();
        self.room.notify_one();
    }

    /// What the driver says that it holds for us no longer. Of what is being settled the settlement's answer tells.
    pub(crate) fn lose_held(&self, of: &[(UnitId, Arc<Epoch>)], lost: &[(UnitId, Token)]) {
        for (unit, token) in lost {
            let is_decided = self.window().is_decided(*unit, *token);
            let lost = if is_decided { None } else { self.lose(of, *unit, *token) };
            if let Some(acked) = lost {
                // Acked in between: whoever acked was told that it is recorded, so the next commit says that it came late.
                self.late_acks.fetch_add(u64::from(acked), Ordering::SeqCst);
                self.tell_lost(*unit, *token);
            }
        }
    }

    /// Acks that came too late.
    pub(crate) fn lose_settled(&self, of: &[(UnitId, Arc<Epoch>)], lost: &[(UnitId, Token)]) {
        for (unit, token) in lost {
            self.lose(of, *unit, *token);
            self.tell_lost(*unit, *token);
        }
    }

    /// A settlement other than an ack that came too late.
    pub(crate) fn lose_other(&self, Slot { slots, index }: &Slot) {
        slots.lose(*index);
        self.window().close(slots, *index);
        self.tell_lost(slots.unit(), slots.token(*index));
    }

    /// Lets go of a token, if the assignment to which it belonged is still running: a later one may have it anew.
    fn lose(&self, of: &[(UnitId, Arc<Epoch>)], unit: UnitId, token: Token) -> Option<bool> {
        let is_running = of.iter().any(|(id, epoch)| *id == unit && !epoch.is_lost());
        is_running.then(|| self.window().lose(unit, token)).flatten()
    }

    fn tell_lost(&self, unit: UnitId, token: Token) {
        tracing::debug!(%unit, ?token, "lease lost");
        self.counters.lease_lost.fetch_add(1, Ordering::Relaxed);
        self.emit(Event::LeaseLost(self.position(unit, token)));
        self.losses.notify_waiters();
        self.room.notify_one();
    }

    pub(crate) fn emit(&self, event: Event) {
        // Nobody has to listen.
        let _ = self.events.send(event);
    }

    /// Tells what became of units, as far as they are the stream's.
    pub(crate) fn emit_units(&self, event: fn(Vec<UnitId>) -> Event, mut units: Vec<UnitId>) {
        units.retain(|unit| !unit.is_helper());
        if !units.is_empty() {
            self.emit(event(units));
        }
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        let first = self.first_events.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| self.events.subscribe())
    }

    /// The counters as a report of a life that still goes on.
    pub(crate) fn report(&self) -> CloseReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CloseReport {
            delivered: read(&self.handed),
            acked: read(&self.counters.acked),
            dead_lettered: read(&self.counters.dead_lettered),
            retried: read(&self.counters.retried),
            dropped: read(&self.counters.dropped),
            lease_lost: read(&self.counters.lease_lost),
            ..CloseReport::default()
        }
    }
}

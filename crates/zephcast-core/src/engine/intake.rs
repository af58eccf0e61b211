//! The intake loop: fetches as much as the window has room for, and tries again without an end when the broker is away.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::deadline::after;
use crate::driver::{Batch, Credit, Fetched, Intake, Settler};
use crate::retry::Reconnect;
use crate::{Error, ErrorKind, Event, UnitId};

use super::core::{MemberCore, Request};
use super::flight::{Flight, Item};
use super::isolation::SuspectTurn;
use super::member::Stop;
use super::outage::Talker;
use super::revocation::{Revocation, flush};

pub(crate) struct Fetching {
    pub(crate) core: Arc<MemberCore>,
    pub(crate) settler: Arc<dyn Settler>,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
    pub(crate) revocations: mpsc::UnboundedSender<Revocation>,
    pub(crate) backoff: Reconnect,
}

impl Fetching {
    /// Runs until the member is stopped or the driver fails for good; the reason is then the consumer's to see.
    /// Says whether another member took this one's place.
    pub(crate) async fn run(&mut self, intake: &mut dyn Intake) -> bool {
        let mut end = End { stop: self.stop.clone(), broken: self.core.broken() };
        let core = self.core.clone();
        loop {
            if end.wished().now_or_never().is_some() {
                return false;
            }
            let credit = credit(&core);
            let interrupted = async {
                tokio::select! {
                    () = end.wished() => {}
                    () = room(&core), if credit.messages == 0 => {}
                }
            };
            let taken = match self.fetch(intake, credit, interrupted).await {
                Ok(Fetched::Idle) if credit.messages == 0 => Ok(()),
                Ok(Fetched::Suspects) => self.take_suspects(intake, &mut end).await,
                fetched => fetched.map(|fetched| self.take(fetched)),
            };
            match taken {
                Ok(()) => {}
                Err(error) if error.is_retryable() => self.wait_to_reconnect(error, end.wished()).await,
                Err(error) => {
                    tracing::error!(%error, stream = %self.core.subscription.stream, "the consumer ends");
                    let replaced = error.kind() == ErrorKind::Conflict;
                    if replaced {
                        // Whatever this member held is another's: nobody waits for it to be settled.
                        let units = self.core.window().units();
                        self.lose(units);
                    }
                    self.core.queue.fail(error);
                    return replaced;
                }
            }
        }
    }

    /// Takes news until `over`, of a member that wants nothing more but has something to finish: others wait for what it
    /// is asked to give up.
    pub(crate) async fn listen<T>(&mut self, intake: &mut dyn Intake, over: impl Future<Output = T>) -> T {
        const NEWS: Credit = Credit { messages: 0, bytes: 0, suspect: false };
        tokio::pin!(over);
        loop {
            let mut ended = None;
            let fetched = self.fetch(intake, NEWS, async { ended = Some(over.as_mut().await) }).await;
            match fetched {
                Ok(fetched) => self.take(fetched),
                Err(_) if ended.is_some() => {}
                Err(error) if error.is_retryable() => {
                    self.wait_to_reconnect(error, async { ended = Some(over.as_mut().await) }).await;
                }
                // There is no more news.
                Err(_) => return over.await,
            }
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    /// Fetches, and never drops the call: what interrupts it takes what it still brings.
    async fn fetch(
        &mut self,
        intake: &mut dyn Intake,
        credit: Credit,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Fetched, Error> {
        if credit.messages == 0 {
            self.core.waits_for_news();
        }
        let fetch = intake.fetch(credit);
        tokio::pin!(fetch);
        let fetched = tokio::select! {
            biased;
            fetched = &mut fetch => fetched,
            () = interrupted => {
                self.settler.interrupt();
                fetch.await
            }
        };
        // News may be known of a broker that is away.
        if matches!(fetched, Ok(Fetched::Batch(_) | Fetched::Suspects | Fetched::Idle)) {
            self.backoff.succeeded();
            self.core.connected(Talker::Intake);
        }
        fetched
    }

    /// Waits for as long as it is good to, or until `over`.
    async fn wait_to_reconnect(&mut self, error: Error, over: impl Future<Output = ()>) {
        self.core.disconnected(Talker::Intake, error);
        let _ = tokio::time::timeout(self.backoff.failed(), over).await;
    }

    fn take(&self, fetched: Fetched) {
        let core = &self.core;
        match fetched {
            Fetched::Batch(batch) => {
                let flights = self.hand_in(batch);
                if !flights.is_empty() {
                    core.queue.push(flights.into_iter());
                }
            }
            Fetched::Assigned(units) => {
                for unit in &units {
                    core.window().epoch(*unit);
                }
                core.emit_units(Event::Assigned, units);
            }
            Fetched::Revoking(release) => {
                // The revocation ends when the member does.
                let _ = self.revocations.send(Revocation::begin(core, release));
            }
            Fetched::Lost(units) => self.lose(units),
            Fetched::Event(event) => core.emit(event),
            Fetched::Suspects | Fetched::Idle => core.window().fetched(),
        }
    }

    fn lose(&self, units: Vec<UnitId>) {
        self.core.end_units(&units);
        tracing::info!(?units, "units lost");
        self.core.emit_units(Event::Lost, units);
    }

    /// Takes a batch into the window, without what is held or was settled a moment ago.
    fn hand_in(&self, batch: Batch) -> Vec<Arc<Flight>> {
        let Batch { unit, mut messages } = batch;
        let mut window = self.core.window();
        let highest = window.highest(unit);
        if messages.iter().any(|incoming| highest >= Some(incoming.token)) {
            messages.retain(|incoming| !window.knows(unit, incoming.token));
        }
        window.fetched();
        let epoch = window.epoch(unit);
        let flights: Vec<_> = Flight::of(&self.core, unit, &epoch, messages).collect();
        flights.iter().for_each(|flight| window.hand_in(flight.slots.clone()));
        flights
    }

    /// Handles suspects one at a time, with nothing else of this client running, for as long as a lease lasts; then
    /// others go on for a while. A suspect that nobody took in its turn waits for the next.
    async fn take_suspects(&mut self, intake: &mut dyn Intake, end: &mut End) -> Result<(), Error> {
        let core = self.core.clone();
        let patience = core.subscription.lease;
        let mut untaken = None;
        loop {
            let turn = async {
                core.asked().await;
                core.isolation.enter(core.number, patience).await
            };
            let turn = tokio::select! {
                biased;
                () = end.wished() => return Ok(()),
                turn = turn => turn,
            };
            untaken = self.take_turn(&turn, untaken, intake, end).await?;
            if untaken.is_none() {
                return Ok(());
            }
        }
    }

    /// One turn; what nobody took in it comes back.
    async fn take_turn(
        &mut self,
        turn: &SuspectTurn<'_>,
        mut untaken: Option<Item>,
        intake: &mut dyn Intake,
        end: &mut End,
    ) -> Result<Option<Item>, Error> {
        let core = self.core.clone();
        let until = after(Instant::now(), core.subscription.lease);
        loop {
            if let Some(item) = untaken.take() {
                tokio::select! {
                    biased;
                    () = end.wished() => return Ok(None),
                    () = self.alone(turn, item) => {}
                }
                if let Some(item) = core.queue.take_suspect() {
                    core.stop_asking();
                    return Ok(Some(item));
                }
                if core.started() > 0 {
                    return Ok(None);
                }
            }
            // A suspect that is fetched counts as tried, so somebody has to be there for it.
            let asked = tokio::select! {
                biased;
                () = end.wished() => false,
                asked = tokio::time::timeout_at(until, core.asked()) => asked.is_ok() && Instant::now() < until,
            };
            if !asked || core.room().0 == 0 {
                return Ok(None);
            }
            // What was handled before is at the broker before it gets a message that may kill. Where that cannot be
            // written for long, suspects go on all the same.
            tokio::select! {
                biased;
                () = end.wished() => return Ok(None),
                // What was refused for good is told as an event.
                _ = tokio::time::timeout(core.subscription.lease, flush(&core)) => {}
            }
            let credit = Credit { messages: 1, bytes: core.settings.prefetch_bytes, suspect: true };
            match self.fetch(intake, credit, end.wished()).await? {
                Fetched::Batch(batch) => untaken = self.suspect(batch),
                Fetched::Idle | Fetched::Suspects => return Ok(None),
                fetched => self.take(fetched),
            }
        }
    }

    /// Hands a suspect out and waits until it is settled. One that takes longer than a lease has shown that it does not
    /// kill at once.
    async fn alone(&self, turn: &SuspectTurn<'_>, item: Item) {
        let core = &self.core;
        let patience = core.subscription.lease;
        core.queue.push_suspect(item);
        turn.wait_until(patience, || core.queue.suspect_is_out()).await;
        if core.queue.suspect_is_out() {
            turn.wait_until(patience, || core.started() == 0).await;
        }
    }

    /// The one suspect of the batch, or `None` when it has killed often enough and goes to the dead letters.
    fn suspect(&self, batch: Batch) -> Option<Item> {
        let flights = self.hand_in(batch);
        let mut items = flights.into_iter().flat_map(Flight::items);
        let item = items.next()?;
        // A driver hands out one at a time; what it hands out beyond is handed out as usual.
        items.for_each(|item| self.core.queue.push_again(item));
        // The first delivery may have been a mere prefetch, so it takes a second one to blame a message; and one that
        // failed before may have been fetched for its last attempt and not begun.
        let most = self.core.settings.retry.attempts().max(2) + u32::from(item.first_failed_ms().is_some());
        if item.attempt() <= most {
            return Some(item);
        }
        let attempts = item.attempt() - 1;
        let failure = crate::delivery::failure(
            format!("{attempts} attempts; the last ended with the process that made it"),
            item.first_failed_ms(),
        );
        self.core.request(Request::Dead { item, attempts, failure, done: None });
        None
    }
}

/// What there is room for. A nearly full window wants only news until a quarter is free, so that batches stay batches.
fn credit(core: &MemberCore) -> Credit {
    let enough = (core.subscription.prefetch / 4).max(1);
    let (messages, bytes) = core.room();
    let has_room = messages >= enough && bytes > 0;
    Credit { messages: if has_room { messages } else { 0 }, bytes, suspect: false }
}

/// Waits until there is room for a batch.
async fn room(core: &MemberCore) {
    loop {
        let room = core.room.notified();
        if credit(core).messages > 0 {
            return;
        }
        room.await;
    }
}

/// What ends the fetching.
struct End {
    stop: watch::Receiver<Option<Stop>>,
    broken: watch::Receiver<bool>,
}

impl End {
    /// Waits for the wish to stop, which a consumer that is gone has expressed, or until nothing can be settled any more.
    /// Cancel safe.
    async fn wished(&mut self) {
        tokio::select! {
            stop = self.stop.wait_for(Option::is_some) => drop(stop),
            broken = self.broken.wait_for(|broken| *broken) => drop(broken),
        }
    }
}

/// The longest a stopped fetch is waited for beyond its interrupt.
pub(crate) const INTERRUPT_PATIENCE: Duration = Duration::from_secs(5);

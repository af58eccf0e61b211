//! What was fetched and not yet handed out. Flights cross it, not messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use crate::{Delivery, Error};

use super::flight::{Flight, Item};

/// A flight, or what is left of it to be handed out.
#[derive(Debug)]
pub(crate) struct Parcel {
    flight: Arc<Flight>,
    next: usize,
}

impl Parcel {
    pub(crate) fn new(flight: Arc<Flight>) -> Self {
        Self { flight, next: 0 }
    }

    /// Hands the next message out that still may be. `None` when there is none, or a suspect got its turn meanwhile.
    pub(crate) fn next(&mut self) -> Option<Delivery> {
        let slots = &self.flight.slots;
        if !slots.epoch().hands_out() {
            self.next = self.flight.len();
        }
        while !self.is_empty() && slots.is_gone(self.next) {
            self.next += 1;
        }
        if self.is_empty() || !self.flight.core.hand_out(slots, self.next, false) {
            return None;
        }
        let item = Item { flight: self.flight.clone(), index: self.next };
        self.next += 1;
        Some(Delivery::handed_out(item))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.flight.len()
    }
}

/// What the queue gave.
#[derive(Debug)]
pub(crate) enum Popped {
    Parcel(Parcel),
    /// A single message that came back.
    Again(Item),
    /// The one suspect, which has its turn.
    Suspect(Item),
    /// The consumer ended for this reason; said once.
    Failed(Error),
    /// Nothing will come any more.
    Ended,
}

/// Written by the member's task, read by the one consumer.
#[derive(Debug, Default)]
pub(crate) struct DeliveryQueue {
    state: Mutex<State>,
    consumer: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    parcels: VecDeque<Parcel>,
    /// Messages that came back. They take turns with fresh ones, so that neither starves the other.
    again: VecDeque<Item>,
    again_is_next: bool,
    /// The one suspect, while it has its turn.
    suspect: Option<Item>,
    /// The suspect was taken, and does not count as started yet.
    suspect_is_leaving: bool,
    failed: Option<Error>,
    closed: bool,
}

impl DeliveryQueue {
    pub(crate) fn push(&self, flights: impl Iterator<Item = Arc<Flight>>) {
        self.change(|state| state.parcels.extend(flights.map(Parcel::new)));
    }

    /// What comes after closing is let go; it is still in the window and goes back from there.
    pub(crate) fn push_again(&self, item: Item) {
        let mut item = Some(item);
        self.change(|state| state.again.extend(item.take_if(|_| !state.closed)));
    }

    /// As [`push_again`](Self::push_again).
    pub(crate) fn push_suspect(&self, item: Item) {
        let mut item = Some(item);
        self.change(|state| state.suspect = item.take_if(|_| !state.closed));
    }

    /// Whether the suspect was handed out, or there was none.
    pub(crate) fn suspect_is_out(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.suspect.is_none() && !state.suspect_is_leaving
    }

    /// The suspect that was popped counts as started, or is not handed out after all.
    pub(crate) fn suspect_is_taken(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).suspect_is_leaving = false;
    }

    /// The suspect, if nobody took it in its turn.
    pub(crate) fn take_suspect(&self) -> Option<Item> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).suspect.take()
    }

    pub(crate) fn fail(&self, error: Error) {
        self.change(|state| state.failed = Some(error));
    }

    /// Nothing more is handed out; what waits is dropped by the caller.
    pub(crate) fn close(&self) -> impl Sized {
        let mut taken = None;
        self.change(|state| {
            state.closed = true;
            taken = Some((std::mem::take(&mut state.parcels), std::mem::take(&mut state.again), state.suspect.take()));
        });
        taken
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    pub(crate) fn wake(&self) {
        self.consumer.wake();
    }

    /// The next to hand out, as long as nothing but suspects may be when `only_suspects` is set.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>, only_suspects: impl Fn() -> bool) -> Poll<Popped> {
        if let Some(popped) = self.pop(only_suspects()) {
            return Poll::Ready(popped);
        }
        self.consumer.register(cx.waker());
        self.pop(only_suspects()).map_or(Poll::Pending, Poll::Ready)
    }

    fn pop(&self, only_suspects: bool) -> Option<Popped> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(item) = state.suspect.take() {
            state.suspect_is_leaving = true;
            return Some(Popped::Suspect(item));
        }
        if !only_suspects {
            let again = if state.again_is_next || state.parcels.is_empty() { state.again.pop_front() } else { None };
            if let Some(item) = again {
                state.again_is_next = false;
                return Some(Popped::Again(item));
            }
            if let Some(parcel) = state.parcels.pop_front() {
                state.again_is_next = true;
                return Some(Popped::Parcel(parcel));
            }
        }
        state.failed.take().map(Popped::Failed).or_else(|| state.closed.then_some(Popped::Ended))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.consumer.wake();
    }
}

//! What was fetched and not yet handed out. Batches cross it, not messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use crate::driver::Incoming;
use crate::{Delivery, Error};

use super::flight::{Flight, Item};

/// A fetched batch, or what is left of it.
#[derive(Debug)]
pub(crate) struct Parcel {
    flight: Arc<Flight>,
    messages: std::vec::IntoIter<Incoming>,
}

impl Parcel {
    pub(crate) fn new(flight: Arc<Flight>, messages: Vec<Incoming>) -> Self {
        Self { flight, messages: messages.into_iter() }
    }

    /// Hands the next message out that still may be. `None` when there is none, or a suspect got its turn meanwhile.
    pub(crate) fn next(&mut self) -> Option<Delivery> {
        let slots = &self.flight.slots;
        if !slots.epoch().hands_out() {
            self.messages = Vec::new().into_iter();
        }
        let mut index = slots.len() - self.messages.len();
        while index < slots.len() && slots.is_lost(index) {
            drop(self.messages.next());
            index += 1;
        }
        // Asked before it is taken out, so that it need not be put back.
        if self.is_empty() || !self.flight.core.hand_out(slots, index, false) {
            return None;
        }
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.messages.next().map(|incoming| Delivery::handed_out(Item::new(self.flight.clone(), index, incoming)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.as_slice().is_empty()
    }
}

/// What the queue gave.
#[derive(Debug)]
pub(crate) enum Popped {
    Parcel(Parcel),
    /// A single message that came back.
    Again(Box<Item>),
    /// The one suspect, which has its turn.
    Suspect(Box<Item>),
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
    failed: Option<Error>,
    closed: bool,
}

impl DeliveryQueue {
    pub(crate) fn push(&self, parcel: Parcel) {
        self.change(|state| state.parcels.push_back(parcel));
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner).suspect.is_none()
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
            return Some(Popped::Suspect(Box::new(item)));
        }
        if !only_suspects {
            let again = if state.again_is_next || state.parcels.is_empty() { state.again.pop_front() } else { None };
            if let Some(item) = again {
                state.again_is_next = false;
                return Some(Popped::Again(Box::new(item)));
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

//! What came to a member and was not handed out.
//!
//! Whoever looks takes everything that the client library has: a member that is asked how much it holds, or that leaves,
//! must know of all of it, and not only of what was fetched.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::{Consumer, Error as LapinError};
use tokio::sync::Notify;

use crate::arrival::Arrival;

/// Why nothing comes any more.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The server cancelled the consumer: its queue was deleted, or has no node.
    Cancelled,
    /// The channel was closed, or the connection broke.
    Failed(LapinError),
}

/// The stream of deliveries, taken in.
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Signalled when somebody else took in what the waiting fetch waits for.
    changed: Notify,
}

struct State {
    /// The handle by which a fetch waits.
    waited_for: Consumer,
    /// Another one to the same stream, so that looking takes no waiting fetch's place.
    looked_at: Consumer,
    arrivals: VecDeque<Arrival>,
    end: Option<End>,
}

impl Inbox {
    pub(crate) fn new(consumer: Consumer) -> Self {
        let state = State { looked_at: consumer.clone(), waited_for: consumer, arrivals: VecDeque::new(), end: None };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Takes in what has come, each by `arrive`.
    pub(crate) fn look(&self, arrive: impl Fn(Delivery) -> Arrival) {
        let came = {
            let State { looked_at, arrivals, end, .. } = &mut *self.state();
            take_in(looked_at, arrivals, end, &mut Context::from_waker(Waker::noop()), &arrive)
        };
        if came {
            self.changed.notify_one();
        }
    }

    /// Waits until something came that was not there before this call, or the end.
    ///
    /// # Cancel safety
    /// Cancel safe: what came is in the inbox.
    pub(crate) async fn more(&self, arrive: impl Fn(Delivery) -> Arrival) {
        let came = poll_fn(|context| {
            let State { waited_for, arrivals, end, .. } = &mut *self.state();
            if end.is_some() || take_in(waited_for, arrivals, end, context, &arrive) {
                return Poll::Ready(());
            }
            Poll::Pending
        });
        tokio::select! {
            () = came => {}
            () = self.changed.notified() => {}
        }
    }

    /// Puts one in its place.
    pub(crate) fn put(&self, arrival: Arrival) {
        let mut state = self.state();
        let place = state.arrivals.partition_point(|other| other.tag < arrival.tag);
        state.arrivals.insert(place, arrival);
        drop(state);
        self.changed.notify_one();
    }

    /// Why nothing comes any more, if so.
    pub(crate) fn end(&self) -> Option<End> {
        self.state().end.clone()
    }

    /// Whether nothing is here.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().arrivals.is_empty()
    }

    /// Whether the first one is in doubt.
    pub(crate) fn begins_in_doubt(&self) -> bool {
        self.state().arrivals.front().is_some_and(|first| first.is_doubtful)
    }

    /// Everything in doubt, after `decide` had a look at each.
    pub(crate) fn doubtful(&self, mut decide: impl FnMut(&mut Arrival)) -> Vec<Arrival> {
        let mut state = self.state();
        state.arrivals.iter_mut().filter(|arrival| arrival.is_doubtful).for_each(&mut decide);
        state.arrivals.iter().filter(|arrival| arrival.is_doubtful).cloned().collect()
    }

    /// Takes one out.
    pub(crate) fn remove(&self, tag: u64) {
        self.state().arrivals.retain(|arrival| arrival.tag != tag);
    }

    /// It is in doubt no longer.
    pub(crate) fn acquit(&self, tag: u64) {
        if let Some(arrival) = self.state().arrivals.iter_mut().find(|arrival| arrival.tag == tag) {
            arrival.is_doubtful = false;
        }
    }

    /// The first ones, as many and as large as there is room for, up to the first in doubt. One that is larger than the
    /// room comes alone.
    pub(crate) fn take(&self, most: usize, bytes: usize) -> Vec<Arrival> {
        let (mut state, mut taken, mut size) = (self.state(), Vec::new(), 0);
        while taken.len() < most
            && let Some(first) = state.arrivals.front().filter(|first| !first.is_doubtful)
            && (size == 0 || size + first.size() <= bytes)
        {
            size += first.size();
            taken.extend(state.arrivals.pop_front());
        }
        taken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether anything came.
fn take_in(
    consumer: &mut Consumer,
    arrivals: &mut VecDeque<Arrival>,
    end: &mut Option<End>,
    context: &mut Context<'_>,
    arrive: &impl Fn(Delivery) -> Arrival,
) -> bool {
    let mut came = false;
    while end.is_none()
        && let Poll::Ready(delivery) = consumer.poll_next_unpin(context)
    {
        came = true;
        match delivery {
            Some(Ok(delivery)) => arrivals.push_back(arrive(delivery)),
            Some(Err(source)) => *end = Some(End::Failed(source)),
            None => *end = Some(End::Cancelled),
        }
    }
    came
}

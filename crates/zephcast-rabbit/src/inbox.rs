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

/// The deliveries of a channel, taken in.
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Signalled when somebody else took in what the waiting fetch waits for.
    changed: Notify,
}

struct State {
    streams: Vec<Stream>,
    /// By delivery tag.
    arrivals: VecDeque<Arrival>,
    end: Option<End>,
    /// The size of a message, of late; 0 before the first.
    mean_size: usize,
}

/// Tells the consumers of a channel apart.
pub(crate) type ConsumerNumber = u32;

/// What one consumer is given.
struct Stream {
    number: ConsumerNumber,
    /// The handle by which a fetch waits.
    waited_for: Consumer,
    /// Another one to the same stream, so that looking takes no waiting fetch's place.
    looked_at: Consumer,
    /// Whether it is about to end since this member wants no more of it.
    is_ending: bool,
}

impl Inbox {
    pub(crate) fn new(number: ConsumerNumber, consumer: Consumer) -> Self {
        let state =
            State { streams: vec![Stream::new(number, consumer)], arrivals: VecDeque::new(), end: None, mean_size: 0 };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// One more consumer of the same channel.
    pub(crate) fn add(&self, number: ConsumerNumber, consumer: Consumer) {
        self.state().streams.push(Stream::new(number, consumer));
        self.changed.notify_one();
    }

    /// From now on the end of the consumers that there are is this member's own doing.
    pub(crate) fn expect_end(&self) {
        self.state().streams.iter_mut().for_each(|stream| stream.is_ending = true);
    }

    /// The size of a message, of late; `None` before the first.
    pub(crate) fn mean_size(&self) -> Option<usize> {
        Some(self.state().mean_size).filter(|size| *size > 0)
    }

    /// Takes in what has come, each by `arrive`.
    pub(crate) fn look(&self, arrive: impl Fn(ConsumerNumber, Delivery) -> Arrival) {
        let came = self.state().take_in(Handle::LookedAt, &mut Context::from_waker(Waker::noop()), &arrive);
        if came {
            self.changed.notify_one();
        }
    }

    /// Waits until something came that was not there before this call, or the end.
    ///
    /// # Cancel safety
    /// Cancel safe: what came is in the inbox.
    pub(crate) async fn more(&self, arrive: impl Fn(ConsumerNumber, Delivery) -> Arrival) {
        let came = poll_fn(|context| {
            let mut state = self.state();
            let came = state.end.is_some() || state.take_in(Handle::WaitedFor, context, &arrive);
            if came { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! {
            () = came => {}
            () = self.changed.notified() => {}
        }
    }

    /// Puts one in its place.
    pub(crate) fn put(&self, arrival: Arrival) {
        put(&mut self.state().arrivals, arrival);
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

    /// Whether the first one must not be handed out yet, at this time of day.
    pub(crate) fn is_held_up(&self, now_ms: u64) -> bool {
        self.state().arrivals.front().is_some_and(|first| first.is_doubtful || first.is_early(now_ms))
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

    /// Whether anything comes before its time, at this time of day.
    pub(crate) fn has_early(&self, now_ms: u64) -> bool {
        self.state().arrivals.iter().any(|arrival| arrival.is_early(now_ms))
    }

    /// What comes before its time, at this time of day, taken out.
    pub(crate) fn take_early(&self, now_ms: u64) -> Vec<Arrival> {
        let mut state = self.state();
        let (early, rest): (VecDeque<_>, _) = state.arrivals.drain(..).partition(|arrival| arrival.is_early(now_ms));
        state.arrivals = rest;
        early.into()
    }

    /// It is in doubt no longer, and so many attempts count.
    pub(crate) fn acquit(&self, tag: u64, attempts: u32) {
        if let Some(arrival) = self.state().arrivals.iter_mut().find(|arrival| arrival.tag == tag) {
            arrival.is_doubtful = false;
            arrival.notes.attempts = attempts;
        }
    }

    /// The first ones, as many and as large as there is room for, up to the first that must not be handed out yet. One that
    /// is larger than the room comes alone.
    pub(crate) fn take(&self, most: usize, bytes: usize, now_ms: u64) -> Vec<Arrival> {
        let (mut state, mut taken, mut size) = (self.state(), Vec::new(), 0);
        while taken.len() < most
            && let Some(first) = state.arrivals.front().filter(|first| !first.is_doubtful && !first.is_early(now_ms))
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

/// By which handle streams are polled.
#[derive(Clone, Copy)]
enum Handle {
    WaitedFor,
    LookedAt,
}

impl State {
    /// Whether anything came. Looks until no stream has anything: of two the one that was looked at first may have got what
    /// the server sent before that which the other one had.
    fn take_in(
        &mut self,
        by: Handle,
        context: &mut Context<'_>,
        arrive: &impl Fn(ConsumerNumber, Delivery) -> Arrival,
    ) -> bool {
        let mut came = false;
        while self.end.is_none() && self.take_in_once(by, context, arrive) {
            came = true;
        }
        came
    }

    fn take_in_once(
        &mut self,
        by: Handle,
        context: &mut Context<'_>,
        arrive: &impl Fn(ConsumerNumber, Delivery) -> Arrival,
    ) -> bool {
        let Self { streams, arrivals, end, mean_size } = self;
        let mut came = false;
        streams.retain_mut(|stream| {
            while let Poll::Ready(delivery) = stream.handle(by).poll_next_unpin(context) {
                match delivery {
                    Some(Ok(delivery)) => {
                        let arrival = arrive(stream.number, delivery);
                        *mean_size = mean(*mean_size, arrival.size());
                        put(arrivals, arrival);
                    }
                    None if stream.is_ending => return false,
                    Some(Err(source)) => *end = Some(End::Failed(source)),
                    None => {
                        end.get_or_insert(End::Cancelled);
                    }
                }
                came = true;
                if end.is_some() {
                    break;
                }
            }
            true
        });
        came
    }
}

impl Stream {
    fn new(number: ConsumerNumber, consumer: Consumer) -> Self {
        Self { number, looked_at: consumer.clone(), waited_for: consumer, is_ending: false }
    }

    fn handle(&mut self, by: Handle) -> &mut Consumer {
        match by {
            Handle::WaitedFor => &mut self.waited_for,
            Handle::LookedAt => &mut self.looked_at,
        }
    }
}

/// Puts one in its place, which is almost always the last.
fn put(arrivals: &mut VecDeque<Arrival>, arrival: Arrival) {
    let place = match arrivals.back() {
        Some(last) if last.tag > arrival.tag => arrivals.partition_point(|other| other.tag < arrival.tag),
        _ => arrivals.len(),
    };
    arrivals.insert(place, arrival);
}

/// Follows what comes within some 32 messages.
fn mean(mean: usize, size: usize) -> usize {
    let size = size.max(1);
    if mean == 0 { size } else { (mean * 31 + size).div_ceil(32) }
}

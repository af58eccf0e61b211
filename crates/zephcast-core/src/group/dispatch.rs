//! One member's dispatch: takes deliveries, runs handlers beside each other, keeps order by key.
//!
//! Handlers run in the member's own task. One that is ready at once costs no allocation; one that waits is kept among
//! the running.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::lanes::Lanes;
use crate::{Consumer, Delivery, Result};

/// A place for a handler's future, used again and again.
type Place<F> = Pin<Box<Option<F>>>;

pub(super) struct Dispatch<F, S> {
    /// Begins to handle a delivery.
    start: S,
    concurrency: usize,
    /// `None` when order does not matter.
    lanes: Option<Lanes<Delivery>>,
    running: FuturesUnordered<Running<F>>,
    spare: Option<Place<F>>,
}

/// A handler that waits for something, and the key that it keeps busy.
struct Running<F> {
    place: Place<F>,
    key: Option<Bytes>,
}

impl<F: Future<Output = ()>, S: Fn(Delivery) -> F> Dispatch<F, S> {
    pub(super) fn new(start: S, concurrency: usize, ordered: bool) -> Self {
        let lanes = ordered.then(Lanes::new);
        Self { start, concurrency, lanes, running: FuturesUnordered::new(), spare: None }
    }

    /// Handles deliveries until the consumer ends; a permanent error is the result.
    pub(super) async fn run(&mut self, consumer: &mut Consumer) -> Result<()> {
        loop {
            let full = self.running.len() >= self.concurrency;
            tokio::select! {
                biased;
                Some(key) = self.running.next() => self.done(key.as_ref()).await,
                next = consumer.next(), if !full => match next {
                    Some(delivery) => self.take(delivery?).await,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Finishes what runs; what only waits for its key goes back.
    pub(super) async fn drain(&mut self) {
        if let Some(lanes) = &mut self.lanes {
            lanes.clear().into_iter().for_each(Delivery::give_back);
        }
        while self.running.next().await.is_some() {}
    }

    async fn take(&mut self, delivery: Delivery) {
        let key = self.lanes.as_ref().and_then(|_| delivery.key().cloned());
        let delivery = match &mut self.lanes {
            Some(lanes) => {
                delivery.wait();
                lanes.enter(key.as_ref(), delivery)
            }
            None => Some(delivery),
        };
        if let Some(delivery) = delivery {
            self.begin(delivery, key).await;
        }
    }

    async fn done(&mut self, key: Option<&Bytes>) {
        if let Some(next) = self.lanes.as_mut().and_then(|lanes| lanes.leave(key)) {
            self.begin(next, key.cloned()).await;
        }
    }

    /// Starts handlers until one does not finish at once, or nothing waits for the key.
    async fn begin(&mut self, delivery: Delivery, key: Option<Bytes>) {
        let mut next = Some(delivery);
        while let Some(delivery) = next.take() {
            if self.lanes.is_some() && !delivery.begin() {
                delivery.give_back();
                next = self.lanes.as_mut().and_then(|lanes| lanes.leave(key.as_ref()));
                continue;
            }
            let mut place = self.spare.take().unwrap_or_else(|| Box::pin(None));
            place.set(Some((self.start)(delivery)));
            if poll_fn(|cx| Poll::Ready(poll_place(&mut place, cx))).await.is_pending() {
                self.running.push(Running { place, key });
                return;
            }
            self.spare = Some(place);
            next = self.lanes.as_mut().and_then(|lanes| lanes.leave(key.as_ref()));
        }
    }
}

/// Polls what is in the place and empties it when that is through.
fn poll_place<F: Future<Output = ()>>(place: &mut Place<F>, cx: &mut Context<'_>) -> Poll<()> {
    let polled = place.as_mut().as_pin_mut().map_or(Poll::Ready(()), |future| future.poll(cx));
    if polled.is_ready() {
        place.set(None);
    }
    polled
}

impl<F: Future<Output = ()>> Future for Running<F> {
    type Output = Option<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match poll_place(&mut self.place, cx) {
            Poll::Ready(()) => Poll::Ready(self.key.take()),
            Poll::Pending => Poll::Pending,
        }
    }
}

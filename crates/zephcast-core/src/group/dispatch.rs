//! One member's dispatch: takes deliveries, runs handlers beside each other, keeps order by key.
//!
//! Handlers run in the member's own task. One that is ready at once costs no allocation; one that waits is kept among
//! the running.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

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
        poll_fn(|cx| self.poll(consumer, cx)).await
    }

    /// Finishes what runs; what only waits for its key goes back.
    pub(super) async fn drain(&mut self) {
        if let Some(lanes) = &mut self.lanes {
            lanes.clear().into_iter().for_each(Delivery::give_back);
        }
        while self.running.next().await.is_some() {}
    }

    /// Goes on as far as it can: the consumer says when it is time to let others run.
    fn poll(&mut self, consumer: &mut Consumer, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if !self.running.is_empty()
                && let Poll::Ready(Some(key)) = self.running.poll_next_unpin(cx)
            {
                self.done(key.as_ref(), cx);
                continue;
            }
            if self.running.len() >= self.concurrency {
                return Poll::Pending;
            }
            match ready!(consumer.poll_next_unpin(cx)) {
                Some(delivery) => self.take(delivery?, cx),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    fn take(&mut self, delivery: Delivery, cx: &mut Context<'_>) {
        let Some(lanes) = &mut self.lanes else { return self.begin(delivery, None, cx) };
        let key = delivery.key().cloned();
        delivery.wait();
        if let Some(delivery) = lanes.enter(key.as_ref(), delivery) {
            self.begin(delivery, key, cx);
        }
    }

    fn done(&mut self, key: Option<&Bytes>, cx: &mut Context<'_>) {
        if let Some(next) = self.next_of(key) {
            self.begin(next, key.cloned(), cx);
        }
    }

    /// Starts handlers until one does not finish at once, or nothing waits for the key.
    fn begin(&mut self, delivery: Delivery, key: Option<Bytes>, cx: &mut Context<'_>) {
        let mut next = Some(delivery);
        while let Some(delivery) = next.take() {
            if self.lanes.is_some() && !delivery.begin() {
                delivery.give_back();
            } else {
                let mut place = self.spare.take().unwrap_or_else(|| Box::pin(None));
                place.set(Some((self.start)(delivery)));
                if poll_place(&mut place, cx).is_pending() {
                    self.running.push(Running { place, key });
                    return;
                }
                self.spare = Some(place);
            }
            next = self.next_of(key.as_ref());
        }
    }

    /// What waited for this key, which is free now.
    fn next_of(&mut self, key: Option<&Bytes>) -> Option<Delivery> {
        self.lanes.as_mut().and_then(|lanes| lanes.leave(key))
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

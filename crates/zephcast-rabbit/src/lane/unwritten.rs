//! What the client library has and the socket has not taken yet.
//!
//! All channels of a connection share one queue in the client library. It is kept short: what lies in it cannot be taken
//! back, delays whatever the others publish, and is sent even when the server has closed its channel, for which the server
//! ends the connection.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::verdicts::Place;

/// No more is added to so many bytes.
const FULL: usize = 256 * 1024;

/// Writes that go on, in the order in which they end.
pub(super) struct Unwritten<W> {
    writes: VecDeque<Write<W>>,
    bytes: usize,
    /// Where writes were that ended: a write is large, and would cost an allocation each.
    spare: Vec<Pin<Box<W>>>,
}

struct Write<W> {
    place: Place,
    bytes: usize,
    writing: Pin<Box<W>>,
}

impl<W: Future> Unwritten<W> {
    pub(super) fn new() -> Self {
        Self { writes: VecDeque::new(), bytes: 0, spare: Vec::new() }
    }

    /// Begins to write the message of this place, of so many bytes; its output when it has ended already.
    pub(super) fn begin(&mut self, place: Place, bytes: usize, writing: W) -> Option<W::Output> {
        let mut writing = match self.spare.pop() {
            Some(mut spare) => {
                spare.set(writing);
                spare
            }
            None => Box::pin(writing),
        };
        // The first poll takes the message's number and queues its frames. Nobody is woken for it: the next one to wait is
        // for the oldest.
        match writing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(written) => {
                self.spare.push(writing);
                Some(written)
            }
            Poll::Pending => {
                self.bytes += bytes;
                self.writes.push_back(Write { place, bytes, writing });
                None
            }
        }
    }

    /// Waits until the oldest is written.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(Place, W::Output)> {
        let Some(oldest) = self.writes.front_mut() else { return Poll::Pending };
        let Poll::Ready(written) = oldest.writing.as_mut().poll(context) else { return Poll::Pending };
        let place = oldest.place;
        if let Some(Write { bytes, writing, .. }) = self.writes.pop_front() {
            self.bytes -= bytes;
            self.spare.push(writing);
        }
        Poll::Ready((place, written))
    }

    /// The place of the oldest.
    pub(super) fn oldest(&self) -> Option<Place> {
        self.writes.front().map(|write| write.place)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL
    }
}

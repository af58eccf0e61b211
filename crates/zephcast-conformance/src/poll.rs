//! Futures that are dropped in the middle.

use std::future::{Future, poll_fn};
use std::task::Poll;

/// When a future is dropped that is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropAt {
    /// Right after this poll, counted from 1.
    Poll(usize),
    /// When it was woken after this poll, before it is polled again: what was meant for it must not go with it.
    Wake(usize),
}

/// Polls a future and drops it at the given point; its output if it was ready before.
pub(crate) async fn dropped_at<F: Future>(at: DropAt, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut polls = 0;
    poll_fn(move |context| {
        if at == DropAt::Wake(polls) {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if at == DropAt::Poll(polls) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Both ways to drop, for the first `polls` polls.
pub(crate) fn points(polls: usize) -> impl Iterator<Item = DropAt> {
    (1..=polls).flat_map(|poll| [DropAt::Poll(poll), DropAt::Wake(poll)])
}

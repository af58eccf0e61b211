//! Everything that is ready, and not only what comes before the first pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Whether somebody was woken.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls for as long as something is ready, without waiting for more. A stream of many futures pauses of itself when it was
/// long at work: it says so by waking whoever polls it.
pub(super) fn each(mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        match poll(&mut context) {
            Poll::Ready(()) => {}
            Poll::Pending if woken.0.swap(false, Ordering::SeqCst) => {}
            Poll::Pending => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use futures_util::stream::FuturesUnordered;
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn what_is_ready_behind_futures_that_wake_themselves_is_not_left() {
        let mut waiting = FuturesUnordered::new();
        for number in 0..10 {
            let mut is_first = true;
            let once_more = poll_fn(move |context| {
                if std::mem::take(&mut is_first) && number < 5 {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(number)
            });
            waiting.push(once_more.boxed());
        }
        waiting.push(pending().boxed());
        let mut taken = Vec::new();
        each(|context| waiting.poll_next_unpin(context).map(|number| taken.extend(number)));
        taken.sort_unstable();
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
    }
}

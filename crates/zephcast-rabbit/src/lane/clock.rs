//! For how long there was no sign of life while something that was published waits for it.
//!
//! The clock belongs to the task that publishes, and not to those who wait for an outcome: they may have gone away, each
//! after less than the timeout, and what they left would grow without bound on a server that never confirms.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use zephcast_core::driver::after;

use crate::guard::Taken;

/// Runs while something waits for the server, and the server takes what it is sent.
pub(super) struct Clock {
    timeout: Duration,
    /// What the socket has taken, of this lane and of all others: they share one queue in the client library.
    taken: Taken,
    /// The last sign of life since something waits for one; `None` while nothing does.
    last: Mutex<Option<Sign>>,
}

/// What the oldest message waits for.
#[derive(Clone, Copy)]
pub(super) enum Awaited {
    /// That the socket takes it. A large one takes long on a slow line: whatever the socket takes is a sign of life.
    Write,
    /// The server's answer.
    Answer,
}

struct Sign {
    at: Instant,
    awaited: Awaited,
    /// What the socket had taken by then.
    taken: u64,
}

impl Clock {
    pub(super) fn new(timeout: Duration, taken: Taken) -> Self {
        Self { timeout, taken, last: Mutex::default() }
    }

    /// There is something to write, which waits from now on if nothing did.
    pub(super) fn begin(&self) {
        self.last().get_or_insert_with(|| self.sign(Awaited::Write));
    }

    /// The oldest message was written, or has its outcome: the next thing that is awaited, if any.
    pub(super) fn awaits(&self, awaited: Option<Awaited>) {
        *self.last() = awaited.map(|awaited| self.sign(awaited));
    }

    /// Ends when there was no sign of life for the whole timeout, and the server took something all the while. Of a socket
    /// that stops in the midst of a message, that is found out within twice the timeout.
    ///
    /// Time alone wakes it: the task that tells the clock has to poll it each time after that. So what is told, which is
    /// much, costs no timer.
    ///
    /// `until`: waits until the server takes something, or nothing.
    pub(super) async fn silence<F: Future<Output = ()>>(&self, until: impl Fn(bool) -> F) {
        loop {
            until(true).await;
            // All that is awaited was held up.
            if let Some(last) = self.last().as_mut() {
                *last = self.sign(last.awaited);
            }
            tokio::select! {
                biased;
                () = until(false) => {}
                () = self.runs_out() => return,
            }
        }
    }

    async fn runs_out(&self) {
        // Never later than the end of the timeout, and set anew only when it fires.
        let mut timer = pin!(sleep_until(after(Instant::now(), self.timeout)));
        poll_fn(|context| {
            while timer.as_mut().poll(context).is_ready() {
                let mut last = self.last();
                let Some(last) = last.as_mut() else { return Poll::Pending };
                if matches!(last.awaited, Awaited::Write) && self.taken.bytes() > last.taken {
                    *last = self.sign(Awaited::Write);
                }
                let end = after(last.at, self.timeout);
                if end <= Instant::now() {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(end);
            }
            Poll::Pending
        })
        .await;
    }

    /// A sign of life, now.
    fn sign(&self, awaited: Awaited) -> Sign {
        Sign { at: Instant::now(), awaited, taken: self.taken.bytes() }
    }

    fn last(&self) -> MutexGuard<'_, Option<Sign>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use tokio::time::{sleep, timeout};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// After how many seconds the server is too silent, while this happens.
    async fn silent_after(events: impl AsyncFnOnce(&Clock, &watch::Sender<bool>)) -> Option<u64> {
        let clock = Clock::new(TIMEOUT, Taken::default());
        let takes = watch::Sender::new(true);
        let until = |wanted| {
            let mut takes = takes.subscribe();
            async move {
                takes.wait_for(|takes| *takes == wanted).await.unwrap();
            }
        };
        let begin = Instant::now();
        let events = async {
            events(&clock, &takes).await;
            std::future::pending::<()>().await;
        };
        let silence = async {
            tokio::select! {
                biased;
                () = events => {}
                () = clock.silence(until) => {}
            }
        };
        timeout(Duration::from_secs(1_000), silence).await.ok().map(|()| begin.elapsed().as_secs())
    }

    async fn seconds(seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_counts_from_the_last_answer_while_more_is_awaited() {
        assert_eq!(silent_after(async |_, _| ()).await, None, "nothing is awaited");
        let never_answered = silent_after(async |clock, _| {
            seconds(15).await;
            clock.begin();
            seconds(6).await;
            // More is handed in, which is no answer.
            clock.begin();
        });
        assert_eq!(never_answered.await, Some(25));
        let slow = silent_after(async |clock, _| {
            clock.begin();
            for _ in 0..5 {
                seconds(9).await;
                clock.awaits(Some(Awaited::Answer));
            }
        });
        assert_eq!(slow.await, Some(55));
        let done = silent_after(async |clock, _| {
            clock.begin();
            seconds(9).await;
            clock.awaits(None);
        });
        assert_eq!(done.await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_socket_takes_is_a_sign_of_life_while_the_oldest_is_written() {
        let writes_for_a_minute = async |clock: &Clock| {
            clock.begin();
            for _ in 0..60 {
                seconds(1).await;
                clock.taken.add(1);
            }
        };
        let stops = silent_after(async |clock, _| writes_for_a_minute(clock).await).await;
        assert!(stops.is_some_and(|seconds| (70..=80).contains(&seconds)), "{stops:?}");
        let never_answered = silent_after(async |clock, _| {
            writes_for_a_minute(clock).await;
            clock.awaits(Some(Awaited::Answer));
            // What others write is no answer.
            loop {
                seconds(1).await;
                clock.taken.add(1);
            }
        });
        assert_eq!(never_answered.await, Some(70));
        let takes_nothing = silent_after(async |clock, _| {
            clock.taken.add(1);
            clock.begin();
            seconds(5).await;
            clock.awaits(Some(Awaited::Write));
        });
        assert_eq!(takes_nothing.await, Some(15));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_nothing_owes_nothing() {
        let blocked = async |clock: &Clock, takes: &watch::Sender<bool>| {
            clock.begin();
            seconds(1).await;
            takes.send_replace(false);
        };
        assert_eq!(silent_after(blocked).await, None);
        let until_late = silent_after(async |clock, takes| {
            blocked(clock, takes).await;
            // Just before the end of the timeout, and long after it.
            seconds(8).await;
            takes.send_replace(true);
            seconds(1).await;
            takes.send_replace(false);
            seconds(100).await;
            takes.send_replace(true);
        });
        assert_eq!(until_late.await, Some(120));
    }
}

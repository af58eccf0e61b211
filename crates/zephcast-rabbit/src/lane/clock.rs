//! For how long the server has said nothing of what was published.
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

/// Runs while the server owes an answer and takes what it is sent.
pub(super) struct Clock {
    timeout: Duration,
    /// The last sign of life since the server owes something; `None` while it owes nothing.
    since: Mutex<Option<Instant>>,
}

impl Clock {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, since: Mutex::default() }
    }

    /// The server owes an answer, from now on if it owed none.
    pub(super) fn begin(&self) {
        self.since().get_or_insert_with(Instant::now);
    }

    /// The server answered, and owes more or nothing.
    pub(super) fn answered(&self, owes_more: bool) {
        *self.since() = owes_more.then(Instant::now);
    }

    /// Ends when the server owed an answer for the whole timeout, and took something all the while.
    ///
    /// Time alone wakes it: the task that tells the clock has to poll it each time after that. So what is told, which is
    /// much, costs no timer.
    ///
    /// `until`: waits until the server takes something, or nothing.
    pub(super) async fn silence<F: Future<Output = ()>>(&self, until: impl Fn(bool) -> F) {
        loop {
            until(true).await;
            // All that it owes was held up.
            if let Some(since) = self.since().as_mut() {
                *since = Instant::now();
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
                let Some(since) = *self.since() else { return Poll::Pending };
                let end = after(since, self.timeout);
                if end <= Instant::now() {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(end);
            }
            Poll::Pending
        })
        .await;
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
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
        let clock = Clock::new(TIMEOUT);
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
    async fn it_counts_from_the_last_answer_while_more_is_owed() {
        assert_eq!(silent_after(async |_, _| ()).await, None, "nothing is owed");
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
                clock.answered(true);
            }
        });
        assert_eq!(slow.await, Some(55));
        let done = silent_after(async |clock, _| {
            clock.begin();
            seconds(9).await;
            clock.answered(false);
        });
        assert_eq!(done.await, None);
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

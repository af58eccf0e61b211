//! `--idle-exit`: how long it has been quiet.

use std::time::Duration;

use tokio::time::Instant;

/// Runs from the assignment on, and anew with each sign of work. An outage is no quiet time: what comes cannot be seen.
#[derive(Debug)]
pub(crate) struct Idle {
    after: Option<Duration>,
    /// `None` before the assignment.
    since: Option<Instant>,
    /// Handlers that run now: while one does it is not quiet.
    running: usize,
    /// Members that cannot reach the broker.
    away: usize,
}

impl Idle {
    /// Never expires without `after`.
    pub(crate) fn new(after: Option<Duration>) -> Self {
        Self { after, since: None, running: 0, away: 0 }
    }

    /// There was an assignment or a message.
    pub(crate) fn touch(&mut self) {
        if self.after.is_some() {
            self.since = Some(Instant::now());
        }
    }

    /// A handler began to run.
    pub(crate) fn begin(&mut self) {
        self.running += 1;
    }

    /// A handler ended.
    pub(crate) fn finish(&mut self) {
        self.running = self.running.saturating_sub(1);
        self.touch();
    }

    /// A member lost the broker.
    pub(crate) fn disconnected(&mut self) {
        self.away += 1;
    }

    /// A member has the broker again.
    pub(crate) fn reconnected(&mut self) {
        self.away = self.away.saturating_sub(1);
        self.touch();
    }

    /// Resolves when it has been quiet for long enough. Cancel safe.
    pub(crate) async fn expired(&self) {
        match (self.after, self.since) {
            (Some(after), Some(since)) if self.running == 0 && self.away == 0 => {
                tokio::time::sleep_until(since + after).await;
            }
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn runs_from_the_assignment_and_anew_with_each_message() {
        let mut idle = Idle::new(Some(Duration::from_secs(5)));
        let quiet = Duration::from_secs(100);
        assert!(tokio::time::timeout(quiet, idle.expired()).await.is_err(), "not before the assignment");
        idle.touch();
        tokio::time::sleep(Duration::from_secs(4)).await;
        idle.touch();
        let touched = Instant::now();
        idle.expired().await;
        assert_eq!(touched.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_any_member_is_no_quiet_time() {
        let mut idle = Idle::new(Some(Duration::from_secs(5)));
        idle.touch();
        idle.disconnected();
        idle.disconnected();
        idle.reconnected();
        assert!(tokio::time::timeout(Duration::from_secs(100), idle.expired()).await.is_err(), "one is still away");
        idle.reconnected();
        let back = Instant::now();
        idle.expired().await;
        assert_eq!(back.elapsed(), Duration::from_secs(5));
    }
}

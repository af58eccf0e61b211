//! How often a member was without its broker or lost what it held, as it said itself.

use std::time::Duration;

use tokio::sync::watch;

/// Told by one member, watched by the storm.
#[derive(Clone, Debug, Default)]
pub struct Outages(watch::Sender<Told>);

/// How often each was told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// That the broker cannot be reached.
    pub disconnected: u64,
    /// That it can again.
    pub reconnected: u64,
    /// That what was in its hands is with others.
    pub lost: u64,
}

impl Outages {
    pub(super) fn disconnected(&self) {
        self.0.send_modify(|told| told.disconnected += 1);
    }

    pub(super) fn reconnected(&self) {
        self.0.send_modify(|told| told.reconnected += 1);
    }

    pub(super) fn lost(&self) {
        self.0.send_modify(|told| told.lost += 1);
    }

    /// What it has said so far.
    pub fn told(&self) -> Told {
        *self.0.borrow()
    }

    /// Waits until it has said so.
    pub async fn until(&self, holds: impl FnMut(&Told) -> bool) {
        // This is the sender: it lives as long as the wait.
        let _ = self.0.subscribe().wait_for(holds).await;
    }
}

/// Waits until this holds of each, with what it had said before: `None` when that takes longer than `within`.
pub async fn all<'a>(
    outages: impl Iterator<Item = &'a Outages>,
    before: &[Told],
    within: Duration,
    holds: impl Fn(&Told, &Told) -> bool,
) -> Option<()> {
    let all = async {
        for (outages, before) in outages.zip(before) {
            outages.until(|now| holds(now, before)).await;
        }
    };
    tokio::time::timeout(within, all).await.ok()
}

/// Looks until there is something to see, for what tells nobody: `None` when that takes longer than `within`.
pub async fn poll<T>(within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(within, looking).await.ok()
}

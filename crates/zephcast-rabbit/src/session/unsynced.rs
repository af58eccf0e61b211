//! What was settled and may not be in the log of its queue yet.

use std::sync::atomic::{AtomicU64, Ordering};

/// So many settlements of a channel may be on their way: with 32 (`quorum_commands_soft_limit`) the server keeps back the rest
/// until the queue's log has some of them.
pub(crate) const KEPT_BACK: u64 = 24;

/// Counts settlements until the log has them.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    count: AtomicU64,
    /// Held while it is found out whether the log has everything.
    syncing: tokio::sync::Mutex<()>,
}

impl Unsynced {
    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether there are any. They count no longer: whoever asks tells that they may be lost.
    pub(super) fn take(&self) -> bool {
        self.count.swap(0, Ordering::SeqCst) > 0
    }

    pub(super) fn are_there(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Begins to find out whether the log has those that there are, once nobody else does.
    pub(super) async fn begin(&self) -> Syncing<'_> {
        let one_at_a_time = self.syncing.lock().await;
        Syncing { unsynced: self, sent: self.count.load(Ordering::SeqCst), _one_at_a_time: one_at_a_time }
    }
}

/// The settlements that there were when this began.
pub(super) struct Syncing<'a> {
    unsynced: &'a Unsynced,
    sent: u64,
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

impl Syncing<'_> {
    /// How often something has to pass through the log behind them: twice where some may have been kept back until the first
    /// was through.
    pub(super) fn passes(&self) -> u8 {
        u8::from(self.sent > 0) + u8::from(self.sent > KEPT_BACK)
    }

    /// The log has them.
    pub(super) fn done(self) {
        // They may have been taken meanwhile.
        let rest = |all: u64| Some(all.saturating_sub(self.sent));
        let _ = self.unsynced.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, rest);
    }
}

//! How often a member was without its broker, as it said itself.

use tokio::sync::watch;

/// Told by one member, watched by the storm.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outages(watch::Sender<Told>);

/// How often each was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) disconnected: u64,
    pub(crate) reconnected: u64,
}

impl Outages {
    pub(crate) fn disconnected(&self) {
        self.0.send_modify(|told| told.disconnected += 1);
    }

    pub(crate) fn reconnected(&self) {
        self.0.send_modify(|told| told.reconnected += 1);
    }

    pub(crate) fn told(&self) -> Told {
        *self.0.borrow()
    }

    /// Waits until it has said so.
    pub(crate) async fn until(&self, holds: impl FnMut(&Told) -> bool) {
        // This is the sender: it lives as long as the wait.
        let _ = self.0.subscribe().wait_for(holds).await;
    }
}

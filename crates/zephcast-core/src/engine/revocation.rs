//! Giving units up in good order: finish what runs, settle it, let go.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::Event;
use crate::driver::Release;

use super::core::{MemberCore, Request};

/// Runs until dropped. Revocations come one at a time, as drivers rebalance.
pub(crate) async fn run(core: Arc<MemberCore>, mut releases: mpsc::UnboundedReceiver<Release>) {
    while let Some(release) = releases.recv().await {
        for unit in &release.units {
            core.window().epoch(*unit).revoke();
        }
        let finished = async {
            let _eager = core.be_eager();
            wait_until(&core, || release.units.iter().all(|unit| core.window().started(*unit) == 0)).await;
            commit(&core).await;
        };
        if tokio::time::timeout(core.settings.drain, finished).await.is_err() {
            tracing::warn!(units = ?release.units, "handlers did not finish before their units were given up");
        }
        core.end_units(&release.units);
        let units = release.units.clone();
        release.release();
        core.emit(Event::Revoked(units));
    }
    std::future::pending().await
}

/// Waits for a condition that changes only with steps of the settling loop.
pub(super) async fn wait_until(core: &MemberCore, condition: impl Fn() -> bool) {
    loop {
        let progress = core.progress.notified();
        tokio::pin!(progress);
        progress.as_mut().enable();
        if condition() {
            return;
        }
        progress.await;
    }
}

/// Waits until everything settled so far is durable. Whether it was, is in the counters.
pub(super) async fn commit(core: &MemberCore) {
    let (done, answer) = oneshot::channel();
    core.request(Request::Commit(done));
    // A late settlement is counted and told as an event already.
    let _ = answer.await;
}

//! Giving units up in good order: finish what runs, settle it, let go.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::driver::Release;
use crate::{Event, Result, UnitId};

use super::core::{MemberCore, Request};
use super::slots::Epoch;

/// Units that are to be given up, and the assignments of them that are meant: a unit may be lost meanwhile and come back.
#[derive(Debug)]
pub(crate) struct Revocation {
    release: Release,
    epochs: Vec<(UnitId, Arc<Epoch>)>,
}

impl Revocation {
    /// From here on nothing more of the units is handed out.
    pub(crate) fn begin(core: &MemberCore, release: Release) -> Self {
        let epochs: Vec<_> = release.units.iter().map(|unit| (*unit, core.window().epoch(*unit))).collect();
        epochs.iter().for_each(|(_, epoch)| epoch.revoke());
        Self { release, epochs }
    }
}

/// Runs until dropped. Each revocation has the whole drain time, however many there are.
pub(crate) async fn run(core: Arc<MemberCore>, mut revocations: mpsc::UnboundedReceiver<Revocation>) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(revocation) = revocations.recv() => running.push(give_up(&core, revocation)),
            Some(()) = running.next() => {}
            else => return std::future::pending().await,
        }
    }
}

async fn give_up(core: &MemberCore, Revocation { release, epochs }: Revocation) {
    let finished = async {
        let _eager = core.be_eager();
        let is_idle = |(unit, epoch): &(UnitId, Arc<Epoch>)| epoch.is_lost() || core.window().started(*unit) == 0;
        wait_until(core, || epochs.iter().all(is_idle)).await;
        // What was refused for good is told as an event, and the unit goes all the same.
        let _ = flush(core).await;
    };
    if tokio::time::timeout(core.settings.drain, finished).await.is_err() {
        tracing::warn!(units = ?release.units, "handlers did not finish before their units were given up");
    }
    let ours: Vec<_> = epochs.iter().filter(|(_, epoch)| !epoch.is_lost()).map(|(unit, _)| *unit).collect();
    core.end_units(&ours);
    let units = release.units.clone();
    release.release();
    core.emit_units(Event::Revoked, units);
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

/// Waits until everything settled so far is durable. What came too late is told by the next commit.
///
/// # Errors
/// Why something was refused for good.
pub(super) async fn flush(core: &MemberCore) -> Result<()> {
    let (done, answer) = oneshot::channel();
    core.request(Request::Flush(done));
    // An answer that does not come means that the member ends.
    answer.await.unwrap_or(Ok(()))
}

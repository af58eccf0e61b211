//! The renewal loop: keeps the lease of everything held, for as long as handlers run, and names the stuck.

use std::sync::Arc;
use std::time::Duration;

use crate::Event;
use crate::driver::{Renewal, Settler};

use super::core::MemberCore;
use super::outage::Talker;

/// Runs until dropped.
pub(crate) async fn run(core: Arc<MemberCore>, settler: Arc<dyn Settler>) {
    let lease = core.subscription.lease;
    let mut ticks = tokio::time::interval(lease / 3);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reported: Option<Duration> = None;
    loop {
        ticks.tick().await;
        let renewing = core.renewing.lock().await;
        let oldest = oldest(&core);
        let (held, assignments) = {
            let window = core.window();
            (window.held(), window.assignments())
        };
        let renewal = Renewal { held, oldest };
        match settler.renew(renewal).await {
            Ok(lost) => {
                core.lose_held(&assignments, &lost);
                core.connected(Talker::Renewal);
            }
            // The lease goes on for two more renewals.
            Err(error) => {
                tracing::warn!(%error, stream = %core.subscription.stream, "the lease could not be renewed");
                if error.is_retryable() {
                    core.disconnected(Talker::Renewal, error);
                }
            }
        }
        drop(renewing);
        reported = match oldest {
            Some(oldest) if oldest > lease && reported.is_none_or(|at| oldest >= at + lease || oldest < at) => {
                tracing::warn!(member = %core.subscription.member, ?oldest, "a delivery is stuck");
                core.emit(Event::Stuck { oldest });
                Some(oldest)
            }
            Some(oldest) if oldest > lease => reported,
            _ => None,
        };
    }
}

/// How long the oldest delivery has been handed out.
fn oldest(core: &MemberCore) -> Option<Duration> {
    let now = core.read_clock();
    let handed = core.window().oldest_handed()?;
    Some(Duration::from_millis(now.saturating_sub(handed)))
}

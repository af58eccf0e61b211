//! One member: its task, and the story of leaving.
//!
//! Take nothing more in; drop what nobody has; wait for what somebody has; make every settlement durable; leave, giving
//! back the rest. Everything within the deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::deadline::after;
use crate::driver::{Intake, Membership, Returned, Settler};
use crate::retry::Reconnect;
use crate::{CloseReport, Error, ErrorKind, Result};

use super::core::MemberCore;
use super::intake::{Fetching, INTERRUPT_PATIENCE};
use super::revocation::{flush, wait_until};
use super::settling::Settling;
use super::{renewal, revocation};

/// Of the time to close, what is kept for settling and leaving when handlers do not finish.
const LEAVING_SHARE: u32 = 5;
const LEAVING_MOST: Duration = Duration::from_secs(2);

/// The wish to stop, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) deadline: Instant,
}

/// A running member. Dropping it does not stop it; [`stop`](Self::stop) does.
#[derive(Debug)]
pub(crate) struct Member {
    stop: watch::Sender<Option<Stop>>,
    task: JoinHandle<CloseReport>,
}

impl Member {
    pub(crate) fn start(core: Arc<MemberCore>, membership: Membership) -> Self {
        let (stop, stopped) = watch::channel(None);
        Self { stop, task: tokio::spawn(live(core, membership, stopped)) }
    }

    /// Begins to stop. The first wish counts.
    pub(crate) fn stop(&self, within: Duration) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(Stop { deadline: after(Instant::now(), within) });
            first
        });
    }

    /// Waits for the end after [`stop`](Self::stop). `None` when the runtime ended the task.
    pub(crate) async fn ended(self) -> Option<CloseReport> {
        self.task.await.ok()
    }
}

async fn live(core: Arc<MemberCore>, membership: Membership, stop: watch::Receiver<Option<Stop>>) -> CloseReport {
    let Membership { intake, settler } = membership;
    let (revocations, revoking) = mpsc::unbounded_channel();
    let fetching = Fetching {
        core: core.clone(),
        settler: settler.clone(),
        stop: stop.clone(),
        revocations,
        backoff: Reconnect::new(),
    };
    let _ended = EndOnDrop(core.clone());
    tokio::select! {
        biased;
        report = life(&core, fetching, intake, settler.clone(), stop) => report,
        () = Settling::new(core.clone(), settler.clone()).run() => CloseReport::default(),
        () = renewal::run(core.clone(), settler) => CloseReport::default(),
        () = revocation::run(core.clone(), revoking) => CloseReport::default(),
    }
}

/// Deliveries that somebody still has see that they are no longer ours, also when the runtime ends the task.
struct EndOnDrop(Arc<MemberCore>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.fail(Error::new(ErrorKind::Internal, "consume", "a defect: the member's task panicked"));
        }
        self.0.end();
    }
}

async fn life(
    core: &Arc<MemberCore>,
    mut fetching: Fetching,
    mut intake: Box<dyn Intake>,
    settler: Arc<dyn Settler>,
    mut stop: watch::Receiver<Option<Stop>>,
) -> CloseReport {
    let (deadline, replaced) = {
        let mut wanted = stop.clone();
        let overdue = async {
            let deadline = until(&mut wanted).await;
            tokio::time::sleep_until(deadline.min(Instant::now() + INTERRUPT_PATIENCE)).await;
        };
        let replaced = tokio::select! {
            biased;
            replaced = fetching.run(&mut *intake) => replaced,
            () = overdue => {
                tracing::error!("the driver did not end its fetch when it was interrupted");
                false
            }
        };
        (until(&mut stop).await, replaced)
    };
    let began = Instant::now();
    drop(core.queue.close());
    let reserve = (deadline.saturating_duration_since(began) / LEAVING_SHARE).min(LEAVING_MOST);
    let _eager = core.be_eager();
    // Of a member that lost everything, nothing can be settled any more.
    let is_drained = || replaced || core.started() == 0;
    let drained = async { timeout_at(deadline - reserve, wait_until(core, is_drained)).await.is_ok() };
    // Meanwhile others may wait for what this member is asked to give up.
    let drained = timeout_at(deadline - reserve / 2, fetching.listen(&mut *intake, drained)).await.unwrap_or(false);
    let committed = matches!(timeout_at(deadline - reserve / 2, flush(core)).await, Ok(Ok(())));
    // A renewal that the broker hears after the leaving would bring the member back.
    let _renewed = timeout_at(deadline, core.renewing.lock()).await;
    let (returned, unfinished) = core.window().returned();
    let count = returned.len() as u64;
    // From here on none of it is ours: nothing of it is renewed, and a settlement would come too late.
    let units = core.window().units();
    core.end_units(&units);
    let left = leave(core, &*settler, returned, deadline).await;
    CloseReport {
        returned: count,
        unfinished,
        clean: drained && committed && left,
        duration: began.elapsed(),
        ..core.report()
    }
}

/// Leaves, and tries again as long as there is time: what is not given back waits for the end of the lease. Whether the
/// broker confirmed it.
async fn leave(core: &MemberCore, settler: &dyn Settler, returned: Vec<Returned>, deadline: Instant) -> bool {
    let mut backoff = Reconnect::new();
    let leaving = async {
        loop {
            let within = deadline.saturating_duration_since(Instant::now());
            match settler.leave(returned.clone(), within).await {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, stream = %core.subscription.stream, "leaving failed, trying again");
                    tokio::time::sleep(backoff.failed()).await;
                }
                left => return left,
            }
        }
    };
    let left: Option<Result<()>> = timeout_at(deadline, leaving).await.ok();
    if let Some(Err(error)) = &left {
        tracing::warn!(%error, stream = %core.subscription.stream, "leaving the group failed");
    }
    matches!(left, Some(Ok(())))
}

/// Waits for the wish to stop. A consumer that is gone has expressed it.
async fn until(stop: &mut watch::Receiver<Option<Stop>>) -> Instant {
    match stop.wait_for(Option::is_some).await {
        Ok(stop) => stop.map_or_else(Instant::now, |stop| stop.deadline),
        Err(_) => Instant::now(),
    }
}

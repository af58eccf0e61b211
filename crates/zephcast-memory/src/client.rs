//! One client's connection, and the faults that its calls meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zephcast_core::{MemberName, Result};

use crate::broker::Core;
use crate::error::closed;
use crate::faults::{Operation, lost_reply};

/// A client of the broker. Its clones are the same client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) core: Arc<Core>,
    closed: Arc<AtomicBool>,
}

impl Client {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, closed: Arc::default() }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.core.wake_all();
    }

    /// # Errors
    /// `Closed` after [`close`](Self::close).
    pub(crate) fn check_open(&self, operation: Operation) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(closed(operation.as_str())) } else { Ok(()) }
    }

    /// Does what is asked for at once, on the first poll, and answers as the faults of the moment have it.
    ///
    /// # Errors
    /// What `work` fails with; what was injected; `Closed`.
    pub(crate) async fn call<T>(
        &self,
        operation: Operation,
        member: Option<&MemberName>,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.check_open(operation)?;
        let plan = self.core.rules.meet(operation, member)?;
        let answer = work();
        if let Some(delay) = plan.delay {
            tokio::time::sleep(delay).await;
            // A connection that was cut meanwhile takes the answer with it.
            self.core.rules.meet_again(operation, member).map_err(|_| lost_reply(operation))?;
        }
        if plan.lost { Err(lost_reply(operation)) } else { answer }
    }
}

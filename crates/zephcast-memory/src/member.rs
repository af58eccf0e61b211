//! What the two halves of a member share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use zephcast_core::{MemberName, Result};

use crate::client::Client;
use crate::error::{closed, no_group, no_stream};
use crate::faults::Operation;
use crate::group::{Group, MemberId, Open};
use crate::stream::Stream;

/// A member of a group. When both halves are gone and it did not leave, it ended uncleanly.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) client: Client,
    pub(crate) stream: Arc<Stream>,
    pub(crate) id: MemberId,
    pub(crate) name: MemberName,
    group: Arc<Group>,
    /// Set by a leave that was done: nothing is left to end.
    left: AtomicBool,
    /// Set by the settler, taken back by whatever the fetch returns.
    interrupted: AtomicBool,
    interrupt: Notify,
}

impl Member {
    pub(crate) fn new(client: Client, stream: Arc<Stream>, group: Arc<Group>, id: MemberId, name: MemberName) -> Self {
        Self {
            client,
            stream,
            id,
            name,
            group,
            left: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            interrupt: Notify::new(),
        }
    }

    /// Opens the group, to ask or tell something as this member.
    ///
    /// # Errors
    /// `Closed` after leaving; `NotFound` when the stream or the group was deleted.
    pub(crate) fn open(&self, operation: Operation) -> Result<Open<'_>> {
        if self.left.load(Ordering::Acquire) {
            return Err(closed(operation.as_str()));
        }
        if self.stream.is_deleted() {
            return Err(no_stream(operation.as_str(), self.stream.name()));
        }
        let open = self.group.open(&self.stream);
        match open.is_deleted() {
            true => Err(no_group(operation.as_str(), self.stream.name(), self.group.name())),
            false => Ok(open),
        }
    }

    /// Whether it left before, and its answer was lost.
    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    pub(crate) fn set_left(&self) {
        self.left.store(true, Ordering::Release);
    }

    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.interrupt.notify_one();
    }

    /// Whatever a fetch returns answers the interrupts so far.
    pub(crate) fn answer_interrupt(&self) {
        self.interrupted.store(false, Ordering::Release);
    }

    /// Resolves when interrupted and not answered.
    pub(crate) async fn interrupted(&self) {
        while !self.interrupted.load(Ordering::Acquire) {
            self.interrupt.notified().await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !self.left.load(Ordering::Acquire) {
            self.group.open(&self.stream).vanish(self.id);
        }
    }
}

//! One suspect at a time: while a message that may have killed a process is handled, nothing else of this client is
//! started, so that no innocent message is beside it if it kills again.
//!
//! Both waits are bounded by the caller's patience: a handler that runs for longer than that has shown that it does not
//! kill at once, and must not stop everybody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, MutexGuard, Notify};

use super::core::MemberCore;

/// Nobody's number.
const NOBODY: u64 = 0;

/// Shared by all members of a client.
#[derive(Debug)]
pub(crate) struct Isolation {
    /// The member whose suspect has its turn. Read at every hand-out.
    holder: AtomicU64,
    turn: Turn<()>,
    members: Mutex<Vec<Weak<MemberCore>>>,
    /// Signalled when a delivery was settled while somebody has the turn.
    progress: Notify,
    next_number: AtomicU64,
}

/// The turn of one member; ends when dropped.
#[derive(Debug)]
pub(crate) struct SuspectTurn<'a> {
    isolation: &'a Isolation,
    _guard: MutexGuard<'a, ()>,
}

impl Isolation {
    pub(crate) fn new() -> Self {
        Self {
            holder: AtomicU64::new(NOBODY),
            turn: Turn::new(()),
            members: Mutex::new(Vec::new()),
            progress: Notify::new(),
            next_number: AtomicU64::new(NOBODY + 1),
        }
    }

    /// A number for a new member.
    pub(crate) fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn register(&self, member: Weak<MemberCore>) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| member.strong_count() > 0);
        members.push(member);
    }

    /// Whether nothing but a suspect may be handed out now. One plain load on common processors.
    pub(crate) fn is_on(&self) -> bool {
        self.holder.load(Ordering::SeqCst) != NOBODY
    }

    /// A delivery was handed out, was settled or came back.
    pub(crate) fn progressed(&self) {
        if self.is_on() {
            self.progress.notify_waiters();
        }
    }

    /// Stops hand-outs and waits, for as long as the patience lasts, until nothing of this client runs.
    pub(crate) async fn enter(&self, number: u64, patience: Duration) -> SuspectTurn<'_> {
        let guard = self.turn.lock().await;
        self.holder.store(number, Ordering::SeqCst);
        let turn = SuspectTurn { isolation: self, _guard: guard };
        turn.wait_until(patience, || self.started() == 0).await;
        turn
    }

    fn started(&self) -> u64 {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.iter().filter_map(Weak::upgrade).map(|member| member.started()).sum()
    }
}

impl SuspectTurn<'_> {
    /// Waits until the condition holds or the patience ends. The condition changes with hand-outs and
    /// settlements only.
    pub(crate) async fn wait_until(&self, patience: Duration, condition: impl Fn() -> bool) {
        let wait = async {
            loop {
                let progress = self.isolation.progress.notified();
                tokio::pin!(progress);
                progress.as_mut().enable();
                if condition() {
                    return;
                }
                progress.await;
            }
        };
        // Running out of patience is an answer too: go on.
        let _ = tokio::time::timeout(patience, wait).await;
    }
}

impl Drop for SuspectTurn<'_> {
    fn drop(&mut self) {
        self.isolation.holder.store(NOBODY, Ordering::SeqCst);
        let members = self.isolation.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.iter().filter_map(Weak::upgrade).for_each(|member| member.queue.wake());
    }
}

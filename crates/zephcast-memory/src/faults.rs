//! Faults on request, on the real path.

mod fault;
mod rules;

use std::fmt;
use std::sync::Arc;

use zephcast_core::MemberName;

pub use self::fault::{Fault, Operation};
pub(crate) use self::rules::{Rules, lost_reply};
use crate::broker::Core;

/// A broker's faults: what is to go wrong, and when it is over. A cheap handle; see
/// [`MemoryBroker::faults`](crate::MemoryBroker::faults).
///
/// Every call goes the way that it always goes; a fault is met where a real connection would fail. Faults are met in
/// the order in which they were injected, and each call meets at most one that makes it fail.
#[derive(Clone)]
pub struct Faults {
    core: Arc<Core>,
}

impl Faults {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Lets something go wrong from now on. Calls that are waiting meet it too.
    pub fn inject(&self, fault: Fault) -> &Self {
        self.core.rules.inject(fault);
        self.core.wake_all();
        self
    }

    /// Ends every fault: connections are restored, dead letters are taken again.
    pub fn clear(&self) -> &Self {
        self.core.rules.clear();
        self.core.wake_all();
        self
    }

    /// Begins the draws of [`Fault::chance`] anew from this seed. They are the same in every run; the seed is 0 unless
    /// set.
    pub fn seed(&self, seed: u64) -> &Self {
        self.core.rules.seed(seed);
        self
    }

    /// A member of this name dies, in every group that has one: its lease ends at once and uncleanly, and what it held
    /// is suspect for others. It sees what a member sees that was silent for too long, and takes part again with its
    /// next call; cut it as well to keep it away.
    pub fn crash(&self, member: &str) -> &Self {
        self.expire(|name| name.as_str() == member);
        self
    }

    /// Every member's lease ends at once, as after a pause of the whole process.
    pub fn expire_leases(&self) -> &Self {
        self.expire(|_| true);
        self
    }

    fn expire(&self, chosen: impl Fn(&MemberName) -> bool) {
        for stream in self.core.streams() {
            for group in stream.groups() {
                group.open(&stream).expire(&chosen);
            }
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&self.core.rules).finish()
    }
}

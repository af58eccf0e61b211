//! What the storms have in common: members of this process and of others, and the times at which something may come twice.
//!
//! A storm breaks a broker, the way to it and the members, one fault after the other, while messages go through; a
//! [`History`](zephcast_conformance::History) notes what happened to each.

mod member;
mod outages;
mod process;
mod publishing;
pub mod windows;

use std::time::Duration;

pub use self::member::Member;
pub use self::outages::{Outages, Told, all, poll};
pub use self::process::Process;
pub use self::publishing::publish;

/// What a storm's members agree on.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The stream that they consume.
    pub stream: &'static str,
    /// The one group of all of them.
    pub group: &'static str,
    /// The lease of each.
    pub lease: Duration,
    /// What each may have in its hands: as much may come again when its lease ends.
    pub prefetch: usize,
    /// How long after a fault's end something can come twice because of it, even if nothing is known to wait.
    pub aftermath: Duration,
    /// What was handled longer than this before a fault was not in flight any more.
    pub in_flight: Duration,
    /// The longest that anything awaited may take.
    pub patience: Duration,
}

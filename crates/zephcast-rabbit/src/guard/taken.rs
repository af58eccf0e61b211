//! What a connection's socket has taken so far: that the other side lives, long before it has a whole message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes the socket has taken.
#[derive(Clone, Default)]
pub(crate) struct Taken(Arc<AtomicU64>);

impl Taken {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

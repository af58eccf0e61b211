//! What was taken from its user before that settled it, since it was held for too long.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Delivery tags of one channel. Whatever is settled of these later comes too late, for as long as the channel lasts.
#[derive(Debug, Default)]
pub(crate) struct TakenBack(Mutex<BTreeSet<u64>>);

impl TakenBack {
    pub(super) fn add(&self, tag: u64) {
        self.tags().insert(tag);
    }

    pub(super) fn has(&self, tag: u64) -> bool {
        self.tags().contains(&tag)
    }

    /// Those of these that were taken back.
    pub(crate) fn among(&self, tags: impl Iterator<Item = u64>) -> Vec<u64> {
        let taken_back = self.tags();
        // Almost always there are none.
        if taken_back.is_empty() { Vec::new() } else { tags.filter(|tag| taken_back.contains(tag)).collect() }
    }

    fn tags(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Whether each key's messages come in the order in which they were published.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

#[derive(Debug, Default)]
pub(crate) struct Order(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Key and place of each message.
    made: HashMap<Bytes, (usize, usize)>,
    /// The last place that was delivered of each key.
    last: HashMap<usize, usize>,
    broken: Vec<String>,
}

impl Order {
    pub(crate) fn made(&self, payload: &Bytes, key: usize) {
        let mut inner = self.lock();
        let place = inner.made.len();
        inner.made.insert(payload.clone(), (key, place));
    }

    pub(crate) fn delivered(&self, member: &str, payload: &[u8]) {
        let mut inner = self.lock();
        let Some((key, place)) = inner.made.get(payload).copied() else { return };
        let last = inner.last.entry(key).or_default();
        let before = std::mem::replace(last, place);
        if before > place {
            inner.broken.push(format!("{member} got {place} of key {key} after {before}"));
        }
    }

    /// The deliveries that came after a later one of their key.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Order by key: at most one message of a key is handled at a time, and the next one in order.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// Queues by key. A message without a key has none to wait for.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    /// Every key that is being handled, with what waits for it.
    busy: HashMap<Bytes, VecDeque<T>>,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self { busy: HashMap::new() }
    }

    /// The item back, when it may start now; its key is then busy.
    pub(super) fn enter(&mut self, key: Option<&Bytes>, item: T) -> Option<T> {
        let Some(key) = key else { return Some(item) };
        if let Some(waiting) = self.busy.get_mut(key) {
            waiting.push_back(item);
            return None;
        }
        self.busy.insert(key.clone(), VecDeque::new());
        Some(item)
    }

    /// A key's item is through: the next one that may start.
    pub(super) fn leave(&mut self, key: Option<&Bytes>) -> Option<T> {
        let key = key?;
        let next = self.busy.get_mut(key)?.pop_front();
        if next.is_none() {
            self.busy.remove(key);
        }
        next
    }

    /// Everything that waits.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.busy.drain().flat_map(|(_, waiting)| waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_handled_one_at_a_time_and_in_order() {
        let (a, b) = (Bytes::from("a"), Bytes::from("b"));
        let mut lanes = Lanes::new();
        assert_eq!(lanes.enter(Some(&a), 1), Some(1));
        assert_eq!(lanes.enter(Some(&a), 2), None);
        assert_eq!(lanes.enter(Some(&b), 3), Some(3));
        assert_eq!(lanes.enter(None, 4), Some(4));
        assert_eq!(lanes.enter(Some(&a), 5), None);
        assert_eq!(lanes.leave(Some(&a)), Some(2));
        assert_eq!(lanes.leave(Some(&a)), Some(5));
        assert_eq!(lanes.leave(Some(&a)), None);
        assert_eq!(lanes.leave(Some(&b)), None);
        assert!(lanes.busy.is_empty(), "a key that is through takes no room");
        assert_eq!(lanes.enter(Some(&a), 6), Some(6));
    }
}

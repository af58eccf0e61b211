//! Which topic the stream is, of all that have had its name.

use std::collections::BTreeSet;

/// What was seen of it. A broker that lags behind may show a topic that is gone: so a look counts when the one before
/// said the same, and one that was replaced is not believed to be back.
#[derive(Default)]
pub(super) struct Identity {
    last: Option<u64>,
    current: Option<u64>,
    replaced: BTreeSet<u64>,
}

impl Identity {
    /// Takes a look in, 0 where the broker does not say it; which topic it is if that is certain.
    pub(super) fn seen(&mut self, topic: u64) -> Option<u64> {
        if topic == 0 || self.replaced.contains(&topic) {
            return None;
        }
        if self.last.replace(topic) != Some(topic) {
            return None;
        }
        if let Some(former) = self.current.replace(topic).filter(|former| *former != topic) {
            self.replaced.insert(former);
        }
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_believed_when_it_was_seen_twice_and_never_to_be_back() {
        let mut identity = Identity::default();
        let looks = [1, 1, 2, 1, 1, 2, 0, 2, 1, 1, 2].map(|topic| identity.seen(topic));
        let certain = [None, Some(1), None, None, Some(1), None, None, Some(2), None, None, Some(2)];
        assert_eq!(looks, certain);
    }
}

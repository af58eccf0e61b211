//! What a member holds: every delivery of its channel that is not settled at the broker.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::hints::{Hint, Mark};
use crate::inbox::ConsumerNumber;
use crate::properties::Original;

/// A delivery, as far as it is needed when it is moved, given back or lost.
#[derive(Clone, Debug)]
pub(crate) struct HeldMessage {
    /// By which consumer it came.
    pub(crate) consumer: ConsumerNumber,
    pub(crate) mark: Mark,
    /// How often the broker had delivered it before; `None` where it does not count.
    pub(crate) count: Option<u64>,
    /// How many attempts count so far.
    pub(crate) attempts: u32,
    /// Whether it may have killed a member, as long as nobody said that it did not.
    pub(crate) is_doubtful: bool,
    /// What of its headers and properties is more than a message shows.
    pub(crate) original: Option<Box<Original>>,
    pub(crate) since: Instant,
}

impl HeldMessage {
    /// What can be said of it when it comes again; nothing while it is in doubt, or where the broker does not count.
    pub(crate) fn hint(&self) -> Option<Hint> {
        if self.is_doubtful {
            return None;
        }
        Some(Hint { mark: self.mark, count: self.count? + 1, attempts: self.attempts, is_innocent: false })
    }
}

/// By delivery tag. Tags of a channel begin at 1 and leave nothing out, and with several consumers a later one may be read
/// before an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Held {
    messages: BTreeMap<u64, HeldMessage>,
    /// The highest tag that was read.
    last: u64,
    /// Those below it by which came what nobody has read yet.
    unread: BTreeSet<u64>,
}

impl Held {
    pub(crate) fn insert(&mut self, tag: u64, message: HeldMessage) {
        if tag > self.last {
            self.unread.extend(self.last + 1..tag);
            self.last = tag;
        } else if !self.unread.remove(&tag) {
            // A tag never comes twice.
            return;
        }
        self.messages.insert(tag, message);
    }

    pub(crate) fn get(&self, tag: u64) -> Option<&HeldMessage> {
        self.messages.get(&tag)
    }

    pub(crate) fn get_mut(&mut self, tag: u64) -> Option<&mut HeldMessage> {
        self.messages.get_mut(&tag)
    }

    /// It is settled at the broker, or about to be: whether it was held.
    pub(crate) fn remove(&mut self, tag: u64) -> Option<HeldMessage> {
        self.messages.remove(&tag)
    }

    /// The highest tag up to this one below which everything was read.
    pub(crate) fn read_up_to(&self, tag: u64) -> u64 {
        self.unread.first().map_or(tag, |unread| tag.min(unread - 1))
    }

    /// Everything up to and including this tag is settled: the highest that was still held, which settles all of them. The
    /// broker takes a tag that it does not know for an error, and would settle what is unread along with them: that is where
    /// this ends.
    pub(crate) fn remove_up_to(&mut self, tag: u64) -> Option<u64> {
        let end = self.read_up_to(tag);
        let mut highest = None;
        while let Some(first) = self.messages.first_entry().filter(|first| *first.key() <= end) {
            highest = Some(*first.key());
            first.remove();
        }
        highest
    }

    /// Whether anything was ever held.
    pub(crate) fn began(&self) -> bool {
        self.last > 0
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Everything that is held, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &HeldMessage)> {
        self.messages.iter().map(|(tag, message)| (*tag, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u64) -> HeldMessage {
        let mark = Mark::of(None, &tag.to_be_bytes(), None);
        HeldMessage {
            consumer: 0,
            mark,
            count: None,
            attempts: 0,
            is_doubtful: false,
            original: None,
            since: Instant::now(),
        }
    }

    fn held(tags: impl IntoIterator<Item = u64>) -> Held {
        let mut held = Held::default();
        tags.into_iter().for_each(|tag| held.insert(tag, message(tag)));
        held
    }

    fn tags(held: &Held) -> Vec<u64> {
        held.iter().map(|(tag, _)| tag).collect()
    }

    #[test]
    fn a_frontier_settles_by_a_tag_that_is_still_held() {
        let mut held = held(1..=6);
        assert!(held.remove(3).is_some() && held.remove(3).is_none());
        assert_eq!(held.remove_up_to(3), Some(2));
        assert_eq!(held.remove_up_to(3), None);
        assert_eq!(tags(&held), [4, 5, 6]);
        assert_eq!(held.remove_up_to(u64::MAX), Some(6));
        assert_eq!(held.remove_up_to(u64::MAX), None);
        assert!(held.get(6).is_none());
    }

    #[test]
    fn what_is_read_late_is_not_taken_for_settled() {
        let mut held = held([1, 2, 4]);
        assert!(held.remove(4).is_some());
        assert_eq!(held.remove_up_to(4), Some(2), "3 is unread, and not to be settled along");
        held.insert(3, message(3));
        assert_eq!(tags(&held), [3]);
        assert!(held.remove(3).is_some());
        held.insert(2, message(2));
        held.insert(5, message(5));
        assert_eq!(tags(&held), [5], "a tag never comes twice");
        assert_eq!((held.remove_up_to(4), held.remove_up_to(5)), (None, Some(5)));
    }
}

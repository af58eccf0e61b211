//! What a member holds: every delivery of its channel that is not settled at the broker.

use std::collections::VecDeque;

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
    /// What of its headers and properties is more than a message shows.
    pub(crate) original: Option<Box<Original>>,
    pub(crate) since: Instant,
}

impl HeldMessage {
    /// What can be said of it when it comes again; nothing where the broker does not count.
    pub(crate) fn hint(&self) -> Option<Hint> {
        Some(Hint { mark: self.mark, count: self.count? + 1, attempts: self.attempts, is_innocent: false })
    }
}

/// By delivery tag. Tags of a channel begin at 1 and leave nothing out, and with several consumers a later one may be read
/// before an earlier one.
#[derive(Debug)]
pub(crate) struct Held {
    first: u64,
    messages: VecDeque<Tag>,
}

/// What is known of a delivery tag.
#[derive(Debug)]
enum Tag {
    /// Nobody has read yet what came by it.
    Unread,
    Held(HeldMessage),
    Settled,
}

impl Tag {
    fn held(&self) -> Option<&HeldMessage> {
        match self {
            Self::Held(message) => Some(message),
            Self::Unread | Self::Settled => None,
        }
    }

    fn settle(&mut self) -> Option<HeldMessage> {
        match std::mem::replace(self, Self::Settled) {
            Self::Held(message) => Some(message),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self { first: 1, messages: VecDeque::new() }
    }
}

impl Held {
    pub(crate) fn insert(&mut self, tag: u64, message: HeldMessage) {
        let Some(index) = self.index(tag) else { return };
        while self.messages.len() <= index {
            self.messages.push_back(Tag::Unread);
        }
        let place = &mut self.messages[index];
        if matches!(place, Tag::Unread) {
            *place = Tag::Held(message);
        }
    }

    pub(crate) fn get(&self, tag: u64) -> Option<&HeldMessage> {
        self.messages.get(self.index(tag)?)?.held()
    }

    pub(crate) fn get_mut(&mut self, tag: u64) -> Option<&mut HeldMessage> {
        let index = self.index(tag)?;
        match self.messages.get_mut(index)? {
            Tag::Held(message) => Some(message),
            Tag::Unread | Tag::Settled => None,
        }
    }

    /// It is settled at the broker, or about to be: whether it was held.
    pub(crate) fn remove(&mut self, tag: u64) -> Option<HeldMessage> {
        let index = self.index(tag)?;
        let removed = self.messages.get_mut(index)?.settle();
        self.trim();
        removed
    }

    /// Everything up to and including this tag is settled: the highest that was still held, which settles all of them. The
    /// broker takes a tag that it does not know for an error, and would settle what is unread along with them: that is where
    /// this ends.
    pub(crate) fn remove_up_to(&mut self, tag: u64) -> Option<u64> {
        let mut highest = None;
        while self.first <= tag
            && let Some(message) = self.messages.pop_front_if(|message| !matches!(message, Tag::Unread))
        {
            if let Tag::Held(_) = message {
                highest = Some(self.first);
            }
            self.first += 1;
        }
        self.trim();
        highest
    }

    /// Whether anything was ever held.
    pub(crate) fn began(&self) -> bool {
        self.first > 1 || !self.messages.is_empty()
    }

    /// Everything that is held, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &HeldMessage)> {
        let numbered = (self.first..).zip(&self.messages);
        numbered.filter_map(|(tag, message)| Some((tag, message.held()?)))
    }

    fn index(&self, tag: u64) -> Option<usize> {
        usize::try_from(tag.checked_sub(self.first)?).ok()
    }

    fn trim(&mut self) {
        while self.messages.pop_front_if(|message| matches!(message, Tag::Settled)).is_some() {
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u64) -> HeldMessage {
        let mark = Mark::of(None, &tag.to_be_bytes());
        HeldMessage { consumer: 0, mark, count: None, attempts: 0, original: None, since: Instant::now() }
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

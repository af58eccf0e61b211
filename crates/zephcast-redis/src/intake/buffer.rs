//! What was read and not handed out.

use std::collections::VecDeque;
use std::sync::Arc;

use zephcast_core::Token;
use zephcast_core::driver::{Credit, Incoming};

use crate::member::{Member, lock};

/// Entries that this member holds and the engine does not know yet. As long as they wait here for another fetch,
/// renewals must keep them, by their tokens in [`Member::buffered`].
pub(super) struct Buffer {
    member: Arc<Member>,
    waiting: VecDeque<Incoming>,
    /// Whether the tokens of all that waits stand there.
    kept: bool,
}

impl Buffer {
    pub(super) fn new(member: Arc<Member>) -> Self {
        Self { member, waiting: VecDeque::new(), kept: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of each from `first` on.
    pub(super) fn sizes(&self, first: usize) -> impl Iterator<Item = usize> {
        self.waiting.range(first..).map(|incoming| incoming.message.byte_len())
    }

    pub(super) fn change(&mut self, first: usize, change: impl FnMut(&mut Incoming)) {
        self.waiting.range_mut(first..).for_each(change);
    }

    /// Takes out everything from `first` on, which nobody keeps any more.
    pub(super) fn split_off(&mut self, first: usize) -> Vec<Incoming> {
        let taken: Vec<Incoming> = self.waiting.drain(first..).collect();
        self.no_longer_kept(&taken);
        taken
    }

    pub(super) fn contains(&self, token: Token) -> bool {
        self.waiting.iter().any(|incoming| incoming.token == token)
    }

    pub(super) fn push(&mut self, incoming: Incoming) {
        if self.kept {
            lock(&self.member.buffered).insert(incoming.token);
        }
        self.waiting.push_back(incoming);
    }

    /// Has renewals keep everything. Nearly always there is nothing: what is read is handed out at once.
    pub(super) fn keep(&mut self) {
        if !self.kept && !self.waiting.is_empty() {
            lock(&self.member.buffered).extend(self.waiting.iter().map(|incoming| incoming.token));
            self.kept = true;
        }
    }

    /// As much as there is room for, and at least one.
    pub(super) fn take(&mut self, credit: Credit) -> Vec<Incoming> {
        if self.kept {
            // A renewal may have found out that some of it is another's meanwhile.
            let buffered = lock(&self.member.buffered);
            self.waiting.retain(|incoming| buffered.contains(&incoming.token));
        }
        let mut bytes = 0;
        let fits = self.waiting.iter().take(credit.messages).take_while(|incoming| {
            let fits = bytes < credit.bytes;
            bytes += incoming.message.byte_len();
            fits
        });
        let count = fits.count().max(1).min(self.waiting.len());
        let taken: Vec<Incoming> = self.waiting.drain(..count).collect();
        self.no_longer_kept(&taken);
        taken
    }

    fn no_longer_kept(&mut self, taken: &[Incoming]) {
        if self.kept {
            let mut buffered = lock(&self.member.buffered);
            for incoming in taken {
                buffered.remove(&incoming.token);
            }
            self.kept = !self.waiting.is_empty();
        }
    }
}

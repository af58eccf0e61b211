//! Neighbours on their way through a member, and one delivery of them.

use std::sync::Arc;

use crate::driver::Incoming;
use crate::{Message, Position, UnitId};

use super::core::MemberCore;
use super::slots::{Epoch, Slots};

/// A few messages of one unit, in order, and what becomes of them. A delivery is a handle into it, so that nothing is
/// copied on the way to the handler.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) core: Arc<MemberCore>,
    /// Shared with the window, which needs it for longer than the messages.
    pub(crate) slots: Arc<Slots>,
    messages: Box<[Incoming]>,
}

impl Flight {
    /// Makes flights of a batch.
    pub(crate) fn of(
        core: &Arc<MemberCore>,
        unit: UnitId,
        epoch: &Arc<Epoch>,
        messages: Vec<Incoming>,
    ) -> impl Iterator<Item = Arc<Self>> {
        let mut rest = messages.into_iter();
        std::iter::from_fn(move || {
            if rest.as_slice().is_empty() {
                return None;
            }
            let slots = Arc::new(Slots::of_first(unit, epoch.clone(), rest.as_slice()));
            let messages = rest.by_ref().take(slots.len()).collect();
            Some(Arc::new(Self { core: core.clone(), slots, messages }))
        })
    }

    /// A handle to each of its messages.
    pub(crate) fn items(self: Arc<Self>) -> impl Iterator<Item = Item> {
        (0..self.len()).map(move |index| Item { flight: self.clone(), index })
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// A message that was delivered and is not settled.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) flight: Arc<Flight>,
    pub(crate) index: usize,
}

impl Item {
    pub(crate) fn core(&self) -> &Arc<MemberCore> {
        &self.flight.core
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.flight.slots
    }

    /// What it is to the window.
    pub(crate) fn slot(&self) -> Slot {
        Slot { slots: self.flight.slots.clone(), index: self.index }
    }

    /// As it came.
    pub(crate) fn incoming(&self) -> &Incoming {
        &self.flight.messages[self.index]
    }

    pub(crate) fn message(&self) -> &Message {
        &self.incoming().message
    }

    pub(crate) fn origin(&self) -> Position {
        let (unit, token) = self.incoming().origin;
        self.core().position(unit, token)
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.slots().attempt(self.index)
    }

    pub(crate) fn first_failed_ms(&self) -> Option<u64> {
        self.slots().first_failed_ms(self.index)
    }

    /// Whether it is ours, and its unit is not being given up.
    pub(crate) fn may_be_handed_out(&self) -> bool {
        self.slots().epoch().hands_out() && !self.is_lost()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.slots().is_lost(self.index)
    }
}

/// The record of one delivery, without its message.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) slots: Arc<Slots>,
    pub(crate) index: usize,
}

impl Slot {
    /// What names it at the broker.
    pub(crate) fn key(&self) -> (UnitId, crate::Token) {
        (self.slots.unit(), self.slots.token(self.index))
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.slots.is_lost(self.index)
    }

    /// Whether another member has, or will get, the message: whatever it was settled as came too late.
    pub(crate) fn is_gone(&self) -> bool {
        self.slots.is_gone(self.index)
    }
}

#[cfg(test)]
mod tests;

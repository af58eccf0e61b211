//! A batch on its way through a member, and one delivery of it.

use std::sync::Arc;

use crate::driver::Incoming;
use crate::{Message, Token, UnitId};

use super::core::MemberCore;
use super::slots::{Entry, Epoch, Slots};

/// The settlement record of a batch and the member to which it belongs. Deliveries share it.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) slots: Slots,
    pub(crate) core: Arc<MemberCore>,
}

impl AsRef<Slots> for Flight {
    fn as_ref(&self) -> &Slots {
        &self.slots
    }
}

impl Flight {
    pub(crate) fn new(core: Arc<MemberCore>, unit: UnitId, epoch: Arc<Epoch>, messages: &[Incoming]) -> Self {
        let entries = messages.iter().map(|incoming| {
            let entry = Entry {
                token: incoming.token,
                bytes: u32::try_from(incoming.message.byte_len()).unwrap_or(u32::MAX),
                had_failures: incoming.attempt > 1 || incoming.first_failed_ms.is_some(),
            };
            (entry, incoming.attempt)
        });
        Self { slots: Slots::new(unit, epoch, entries), core }
    }
}

/// A message that was delivered and is not settled, with all that settling it needs.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) flight: Arc<Flight>,
    pub(crate) index: u32,
    pub(crate) attempt: u32,
    /// Whether it comes from a member's unclean end.
    pub(crate) suspect: bool,
    /// How often it was handed back without a failed attempt.
    pub(crate) handed_back: u32,
    pub(crate) origin: Token,
    pub(crate) published_ms: Option<u64>,
    pub(crate) first_failed_ms: Option<u64>,
    pub(crate) message: Message,
}

impl Item {
    pub(crate) fn new(flight: Arc<Flight>, index: u32, incoming: Incoming) -> Self {
        Self {
            flight,
            index,
            attempt: incoming.attempt,
            suspect: incoming.suspect,
            handed_back: 0,
            origin: incoming.origin,
            published_ms: incoming.published_ms,
            first_failed_ms: incoming.first_failed_ms,
            message: incoming.message,
        }
    }

    /// Whether it is ours, and its unit is not being given up.
    pub(crate) fn may_be_handed_out(&self) -> bool {
        self.flight.slots.epoch().hands_out() && !self.is_lost()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.flight.slots.is_lost(self.index as usize)
    }
}

//! Settling, and the rest of a member's life.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{Disposition, Renewal, Returned, Settlement, Settler};
use zephcast_core::{Result, Token, UnitId};

use crate::faults::Operation;
use crate::member::Member;

/// The settling half of a member.
pub(crate) struct MemorySettler {
    member: Arc<Member>,
}

impl MemorySettler {
    pub(crate) fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    async fn call<T>(&self, operation: Operation, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.member.client.call(operation, Some(&self.member.name), work).await
    }

    fn settle_now(&self, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        let member = &*self.member;
        let has_dead = settlement
            .units
            .iter()
            .flat_map(|unit| &unit.others)
            .any(|(_, disposition)| matches!(disposition, Disposition::Dead { .. }));
        let refused = match has_dead {
            true => member.client.core.rules.meet_again(Operation::DeadLetter, Some(&member.name)),
            false => Ok(()),
        };
        let lost = member.open(Operation::Settle)?.settle(member.id, settlement, refused.is_ok());
        refused.map(|()| lost)
    }
}

#[async_trait]
impl Settler for MemorySettler {
    async fn settle(&self, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        self.call(Operation::Settle, || self.settle_now(settlement)).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<Vec<(UnitId, Token)>> {
        let renew = || Ok(self.member.open(Operation::Renew)?.renew(self.member.id, &renewal));
        self.call(Operation::Renew, renew).await
    }

    fn interrupt(&self) {
        self.member.interrupt();
    }

    async fn leave(&self, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        let leave = || {
            if self.member.has_left() {
                return Ok(());
            }
            self.member.open(Operation::Leave)?.leave(self.member.id, &returned);
            self.member.set_left();
            Ok(())
        };
        let left = tokio::time::timeout(deadline, self.call(Operation::Leave, leave)).await;
        left.unwrap_or_else(|_| Err(crate::faults::lost_reply(Operation::Leave)))
    }
}

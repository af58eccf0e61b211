//! The settling half of a member.

mod moves;
pub(crate) mod overdue;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{Disposition, Renewal, Returned, Settlement, Settler, Undurable, UnitSettlements};
use zephcast_core::{Result, Token, UnitId};

use crate::leaving;
use crate::member::{Member, SUSPECTS, words};
use crate::session::Session;

const OPERATION: &str = "settle";

/// Where a member's settlements go.
pub(crate) struct RabbitSettler {
    member: Arc<Member>,
}

/// What an older session handed out.
type Lost = Vec<(UnitId, Token)>;

impl RabbitSettler {
    pub(crate) fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    /// Settles what is the session's; what is of a former one is lost, and comes again.
    async fn settle_unit(&self, session: &Session, unit: &UnitSettlements, lost: &mut Lost) -> Result<()> {
        let mut others = Vec::with_capacity(unit.others.len());
        for (token, disposition) in &unit.others {
            match session.tag_of(*token) {
                Some(tag) => others.push((tag, disposition)),
                None if matches!(disposition, Disposition::Keep { .. }) => {}
                None => lost.push((unit.unit, *token)),
            }
        }
        self.settle_others(session, unit.unit, &others).await?;
        let mut acked = Vec::with_capacity(unit.acked.len());
        for token in &unit.acked {
            match session.tag_of(*token) {
                Some(tag) => acked.push(tag),
                None => lost.push((unit.unit, *token)),
            }
        }
        // One frame for everything up to the frontier, which the broker settles at once. Suspects have none.
        let frontier = unit.frontier.filter(|_| unit.unit != SUSPECTS).and_then(|frontier| session.tag_of(frontier));
        let (end, mut count) = session.ack_up_to(frontier.unwrap_or(0)).await;
        // What is done above it must not wait for what is not.
        for tag in acked.iter().filter(|tag| **tag > end) {
            count += usize::from(moves::settled(session, unit.unit, *tag).await);
        }
        self.member.note_settled(count);
        // What was held for too long is with the group again, or on its way there, whatever was done here.
        let taken_back = if unit.unit == SUSPECTS { &session.suspects.taken_back } else { &session.taken_back };
        let late = taken_back.among(others.iter().map(|(tag, _)| *tag).chain(acked));
        lost.extend(late.into_iter().map(|tag| (unit.unit, session.token(tag))));
        Ok(())
    }
}

#[async_trait]
impl Settler for RabbitSettler {
    async fn settle(&self, settlement: &Settlement) -> Result<Lost> {
        let mut lost = Vec::new();
        // Of one that is over nothing can be settled, nor waited for.
        let session = self.member.session().filter(|session| !session.is_over());
        for unit in &settlement.units {
            match &session {
                Some(session) => self.settle_unit(session, unit, &mut lost).await?,
                None => lost.extend(all(unit)),
            }
        }
        let Some(session) = session else { return Ok(lost) };
        // Acks are waited for by a commit; nobody does for what was settled otherwise.
        if settlement.units.iter().any(|unit| !unit.others.is_empty()) {
            session.sync().await.map_err(|failure| self.member.failed(&session, OPERATION, failure))?;
        }
        // Whoever lost it meanwhile did not know of these.
        if session.is_over() {
            self.member.note_unsynced(&session);
        }
        Ok(lost)
    }

    async fn commit(&self) -> Result<Undurable> {
        if let Some(session) = self.member.session()
            && let Err(failure) = session.sync().await
        {
            // Whether the broker has it nobody knows; what it has not comes again.
            let error = self.member.failed(&session, "commit", failure);
            tracing::debug!(%error, "settlements are lost with their channel");
            session.take_unsynced();
            self.member.lost_unsynced.add();
        }
        Ok(self.member.lost_unsynced.take())
    }

    async fn renew(&self, renewal: Renewal) -> Result<Lost> {
        self.member.note_working(renewal.oldest);
        // The server closes the channel for what is overdue, and waits for no word.
        let lost = overdue::give_back(&self.member).await;
        self.member.tell_outlived("renew", words::PATIENCE).await;
        lost
    }

    fn interrupt(&self) {
        self.member.interrupted.notify_one();
    }

    async fn leave(&self, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        leaving::leave(&self.member, &returned, deadline).await
    }
}

/// Every token of a unit's settlements.
fn all(unit: &UnitSettlements) -> impl Iterator<Item = (UnitId, Token)> {
    let others = unit.others.iter().filter(|(_, disposition)| !matches!(disposition, Disposition::Keep { .. }));
    unit.acked.iter().copied().chain(others.map(|(token, _)| *token)).map(|token| (unit.unit, token))
}

#[cfg(test)]
mod tests;

//! The settling half of a member.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::oneshot;
use zephcast_core::driver::{Disposition, Renewal, Returned, Settlement, Settler, Undurable};
use zephcast_core::{ErrorKind, Result, Token, UnitId};

use crate::assignment::End;
use crate::clock::now_ms;
use crate::error::error;
use crate::keeper::Keeper;
use crate::member::Handle;
use crate::moves;
use crate::partition::offset;
use crate::place::Attempts;

pub(crate) struct KafkaSettler {
    member: Arc<Handle>,
    _keeper: Keeper,
}

impl KafkaSettler {
    pub(crate) fn new(member: Arc<Handle>, keeper: Keeper) -> Self {
        Self { member, _keeper: keeper }
    }

    /// Waits until everything that is settled by now is durable.
    async fn make_durable(&self, operation: &'static str) -> Result<()> {
        let durable = self.member.assignment().await_commit();
        self.member.wake();
        match tokio::time::timeout(self.member.config.request_timeout, durable).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                self.member.check_open(operation)?;
                Err(error(ErrorKind::Unavailable, operation, "its partitions were lost before an answer came"))
            }
            Err(_) => {
                let text = format!("no answer in {:?}", self.member.config.request_timeout);
                Err(self.member.cluster.trouble().explain_to_member(error(ErrorKind::Timeout, operation, text)))
            }
        }
    }
}

#[async_trait]
impl Settler for KafkaSettler {
    async fn settle(&self, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        const OPERATION: &str = "settle";
        self.member.check_open(OPERATION)?;
        let mut late = Vec::new();
        {
            let mut assignment = self.member.assignment();
            assignment.heard();
            for unit in &settlement.units {
                match assignment.partition(unit.unit) {
                    Some(partition) => {
                        let tokens = partition.ack(unit.frontier, &unit.acked);
                        late.extend(tokens.into_iter().map(|token| (unit.unit, token)));
                    }
                    None => late.extend(unit.acked.iter().map(|token| (unit.unit, *token))),
                }
            }
        }
        let others = settlement.units.iter().flat_map(|unit| unit.others.iter().map(|other| (unit.unit, other)));
        let others: Vec<(UnitId, &(Token, Disposition))> = others.collect();
        // What none of them can do without, before each of them waits for it.
        let open = others.iter().filter(|(unit, (token, _))| self.is_open(*unit, *token));
        let open: Vec<&Disposition> = open.map(|(_, (_, disposition))| disposition).collect();
        moves::prepare(&self.member, &open).await?;
        // All at once, each waits for its confirmation. What went well stays so, whatever becomes of the others.
        let settling = others.into_iter().map(|(unit, (token, disposition))| async move {
            Ok(((unit, *token), self.settle_other(unit, *token, disposition).await?))
        });
        let settled: Vec<Result<_>> = join_all(settling).await;
        let mut awaited = false;
        for settled in settled {
            let (other, is_settled) = settled?;
            awaited |= is_settled;
            late.extend((!is_settled).then_some(other));
        }
        // Whoever settles otherwise than by an ack is told when it is done.
        if awaited {
            self.make_durable(OPERATION).await?;
            // What went before it was durable comes again.
            let mut assignment = self.member.assignment();
            for settled in
                settlement.units.iter().filter(|settled| assignment.is_lost(settled.unit)).collect::<Vec<_>>()
            {
                let partition = assignment.partition(settled.unit);
                let is_gone = |token: &Token| partition.as_ref().is_none_or(|partition| !partition.is_current(*token));
                let gone = settled.others.iter().map(|(token, _)| *token).filter(is_gone);
                late.extend(gone.map(|token| (settled.unit, token)));
            }
        }
        Ok(late)
    }

    async fn commit(&self) -> Result<Undurable> {
        const OPERATION: &str = "commit";
        self.member.check_open(OPERATION)?;
        self.make_durable(OPERATION).await?;
        Ok(Undurable { lost: self.member.assignment().take_lost(), ..Undurable::default() })
    }

    async fn renew(&self, renewal: Renewal) -> Result<Vec<(UnitId, Token)>> {
        self.member.check_open("renew")?;
        let mut assignment = self.member.assignment();
        assignment.heard();
        let oldest = renewal.oldest.map(|oldest| u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX));
        assignment.oldest_ms = oldest.map(|oldest| now_ms().saturating_sub(oldest));
        assignment.report();
        let late = |assignment: &mut crate::assignment::Assignment, unit, token: &Token| {
            assignment.partition(unit).is_none_or(|partition| !partition.is_current(*token))
        };
        let mut lost = Vec::new();
        for held in &renewal.held {
            let tokens = held.tokens.iter().filter(|token| late(&mut assignment, held.unit, token));
            lost.extend(tokens.map(|token| (held.unit, *token)).collect::<Vec<_>>());
        }
        assignment.outage_to_tell().map_or(Ok(lost), Err)
    }

    fn interrupt(&self) {
        self.member.interrupts.notify_one();
    }

    async fn leave(&self, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        const OPERATION: &str = "leave";
        let (done, left) = oneshot::channel();
        {
            let mut assignment = self.member.assignment();
            assignment.heard();
            for returned in &returned {
                if let Some(partition) = assignment.partition(returned.unit) {
                    partition.give_back(returned.token, returned.attempts);
                }
            }
            assignment.partitions().for_each(|(_, partition)| partition.acquit_all());
            assignment.end = End::Leaving(Some(done));
        }
        self.member.wake();
        match tokio::time::timeout(deadline, left).await {
            Ok(Ok(answer)) => answer,
            // The poll thread has ended: there is nobody to leave.
            Ok(Err(_)) => Ok(()),
            Err(_) => {
                let text = format!("not left in {deadline:?}");
                Err(self.member.cluster.trouble().explain_to_member(error(ErrorKind::Timeout, OPERATION, text)))
            }
        }
    }
}

impl KafkaSettler {
    fn is_current(&self, unit: UnitId, token: Token) -> bool {
        self.member.assignment().partition(unit).is_some_and(|partition| partition.is_current(token))
    }

    fn is_open(&self, unit: UnitId, token: Token) -> bool {
        self.member.assignment().partition(unit).is_some_and(|partition| partition.is_open(token))
    }

    /// Whether it was not too late.
    async fn settle_other(&self, unit: UnitId, token: Token, disposition: &Disposition) -> Result<bool> {
        if !self.is_current(unit, token) {
            return Ok(false);
        }
        Ok(match disposition {
            Disposition::Keep { attempts } => self.keep(unit, token, *attempts),
            // The group has it already: it is this member's, and it goes when the member does.
            Disposition::Return { .. } => true,
            // Moved by an earlier try, of which it is not known whether it is durable.
            Disposition::Later { .. } | Disposition::Dead { .. } if !self.is_open(unit, token) => true,
            Disposition::Later { .. } | Disposition::Dead { .. } => {
                moves::to_helper(&self.member, unit, disposition).await?;
                self.moved(unit, token)
            }
        })
    }

    fn keep(&self, unit: UnitId, token: Token, attempts: u32) -> bool {
        let mut assignment = self.member.assignment();
        let Some(partition) = assignment.partition(unit) else { return false };
        let first_failed_ms = partition.attempts(offset(token)).first_failed_ms.unwrap_or_else(now_ms);
        partition.keep(token, Attempts { count: attempts, first_failed_ms: Some(first_failed_ms) })
    }

    fn moved(&self, unit: UnitId, token: Token) -> bool {
        let mut assignment = self.member.assignment();
        assignment.partition(unit).is_some_and(|partition| partition.settle(token))
    }
}

#[cfg(test)]
mod tests;

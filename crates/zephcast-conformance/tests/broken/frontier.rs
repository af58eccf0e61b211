//! The embedded broker behind a committed offset: of a settlement only the frontier counts, as on Kafka.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use zephcast_conformance::tamper::{Tamper, TamperMember};
use zephcast_core::driver::{Credit, Fetched, Intake, Returned, Settlement, Settler, Subscription, UnitSettlements};
use zephcast_core::{Result, Token, UnitId};

/// Commits the frontier, and on leaving what was acked above it, as a note beside the offset.
pub(crate) fn right() -> Arc<dyn Tamper> {
    Arc::new(OffsetLike { highest: false })
}

/// Commits the highest offset that was acked, whatever is below it.
pub(crate) fn highest() -> Arc<dyn Tamper> {
    Arc::new(OffsetLike { highest: true })
}

struct OffsetLike {
    highest: bool,
}

impl Tamper for OffsetLike {
    fn member(&self, _: &Subscription) -> Arc<dyn TamperMember> {
        Arc::new(Member { highest: self.highest, units: Mutex::default() })
    }
}

struct Member {
    highest: bool,
    units: Mutex<BTreeMap<UnitId, Unit>>,
}

#[derive(Default)]
struct Unit {
    /// Handed out and not committed, in that order.
    out: Vec<Token>,
    /// How far the offset is.
    committed: Option<Token>,
    /// Acked above the frontier.
    above: Vec<Token>,
}

impl Member {
    /// What is to be settled at the broker when only an offset can be committed.
    fn translate(&self, unit: &UnitSettlements) -> UnitSettlements {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        let known = units.entry(unit.unit).or_default();
        known.out.retain(|token| !unit.others.iter().any(|(other, _)| other == token));
        known.above.extend(&unit.acked);
        let commit = if self.highest { known.above.iter().max().copied() } else { unit.frontier };
        known.committed = known.committed.max(commit);
        let upto = commit.and_then(|commit| known.out.iter().rposition(|token| *token == commit));
        let mut acked: Vec<Token> = known.out.drain(..upto.map_or(0, |at| at + 1)).collect();
        // What came back after the offset had passed it is settled by itself, as from a retry topic.
        let (committed, above) = (known.committed, std::mem::take(&mut known.above));
        let (below, above): (Vec<_>, Vec<_>) = above.into_iter().partition(|token| Some(*token) <= committed);
        known.above = above;
        known.out.retain(|token| !below.contains(token));
        acked.extend(below.into_iter().filter(|token| unit.acked.contains(token)));
        acked.sort_unstable();
        acked.dedup();
        UnitSettlements { acked, ..unit.clone() }
    }
}

#[async_trait]
impl TamperMember for Member {
    async fn fetch(&self, intake: &mut dyn Intake, _: &dyn Settler, credit: Credit) -> Result<Fetched> {
        let fetched = intake.fetch(credit).await?;
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        match &fetched {
            Fetched::Batch(batch) => {
                let out = &mut units.entry(batch.unit).or_default().out;
                for message in &batch.messages {
                    // What is handed out again after a reconnect keeps its place.
                    if !out.contains(&message.token) {
                        out.push(message.token);
                    }
                }
            }
            Fetched::Lost(lost) => lost.iter().for_each(|unit| drop(units.remove(unit))),
            _ => {}
        }
        drop(units);
        Ok(fetched)
    }

    async fn settle(&self, settler: &dyn Settler, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        let units = settlement.units.iter().map(|unit| self.translate(unit)).collect();
        settler.settle(&Settlement { again: settlement.again, units }).await
    }

    async fn leave(&self, settler: &dyn Settler, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        let units = std::mem::take(&mut *self.units.lock().unwrap_or_else(PoisonError::into_inner));
        let note = |(unit, known): (UnitId, Unit)| UnitSettlements { acked: known.above, ..UnitSettlements::new(unit) };
        let units = units.into_iter().map(note).collect();
        settler.settle(&Settlement { again: false, units }).await?;
        settler.leave(returned, deadline).await
    }
}

//! A driver that confirms a settlement and forgets it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use zephcast_conformance::tamper::{Tamper, TamperMember};
use zephcast_core::driver::{Batch, Credit, Fetched, Incoming, Intake, Settlement, Settler, Subscription};
use zephcast_core::{Result, Token, UnitId};

use crate::members::copy;

/// The engine leaves out what it settled so few fetches ago, as a restored connection may list it; a broker that forgets
/// brings it later.
const FETCHES_BETWEEN: usize = 4;

/// Of what it confirmed, the newest message is delivered again.
pub(crate) struct Redelivers;

impl Tamper for Redelivers {
    fn member(&self, _: &Subscription) -> Arc<dyn TamperMember> {
        Arc::new(Forgetful::default())
    }
}

#[derive(Default)]
struct Forgetful(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    /// Handed out and not settled.
    out: BTreeMap<(UnitId, Token), Incoming>,
    /// Confirmed, and to be delivered again.
    again: Option<(UnitId, Incoming)>,
    fetches_left: usize,
    /// What came again does so once.
    repeated: BTreeSet<(UnitId, Token)>,
}

impl Forgetful {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this fetch brings, if that is for us to say.
    fn forgotten(&self, credit: Credit) -> Option<Fetched> {
        let mut memory = self.memory();
        memory.again.as_ref()?;
        if memory.fetches_left > 0 {
            memory.fetches_left -= 1;
            return Some(Fetched::Idle);
        }
        if credit.messages == 0 || credit.suspect {
            return None;
        }
        let (unit, message) = memory.again.take()?;
        Some(Fetched::Batch(Batch { unit, messages: vec![message] }))
    }
}

#[async_trait]
impl TamperMember for Forgetful {
    async fn fetch(&self, intake: &mut dyn Intake, _: &dyn Settler, credit: Credit) -> Result<Fetched> {
        if let Some(forgotten) = self.forgotten(credit) {
            return Ok(forgotten);
        }
        let fetched = intake.fetch(credit).await?;
        if let Fetched::Batch(batch) = &fetched {
            let of = |message: &Incoming| ((batch.unit, message.token), copy(message));
            self.memory().out.extend(batch.messages.iter().map(of));
        }
        Ok(fetched)
    }

    async fn settle(&self, settler: &dyn Settler, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        let lost = settler.settle(settlement).await?;
        let acked = settlement.units.iter().flat_map(|unit| unit.acked.iter().map(|token| (unit.unit, *token)));
        let mut memory = self.memory();
        for key in acked.filter(|key| !lost.contains(key)) {
            let Some(message) = memory.out.remove(&key) else { continue };
            if memory.repeated.insert(key) {
                // The newest, whose neighbours are settled too: the engine knows a flight until all of it is.
                (memory.again, memory.fetches_left) = (Some((key.0, message)), FETCHES_BETWEEN);
                settler.interrupt();
            }
        }
        let repeated = &memory.repeated;
        // The broker below has settled it already; a driver that forgets takes it a second time.
        Ok(lost.into_iter().filter(|key| !repeated.contains(key)).collect())
    }
}

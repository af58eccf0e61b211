//! Members that are wrong in one way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use zephcast_conformance::tamper::{Tamper, TamperMember};
use zephcast_core::driver::{
    Batch, Credit, Disposition, Driver, Fetched, Incoming, Intake, Membership, Release, Renewal, Returned, Settlement,
    Settler, Subscription, UnitSettlements,
};
use zephcast_core::{MemberName, Result, Token, UnitId};

type Lost = Vec<(UnitId, Token)>;

/// Every member is wrong in the same way.
pub(crate) struct Each<M>(pub(crate) M);

impl<M: TamperMember + Copy> Tamper for Each<M> {
    fn member(&self, _: &Subscription) -> Arc<dyn TamperMember> {
        Arc::new(self.0)
    }
}

/// Settles what it fetched before anybody handled it.
#[derive(Clone, Copy)]
pub(crate) struct AcksEarly;

#[async_trait]
impl TamperMember for AcksEarly {
    async fn fetch(&self, intake: &mut dyn Intake, settler: &dyn Settler, credit: Credit) -> Result<Fetched> {
        let fetched = intake.fetch(credit).await?;
        if let Fetched::Batch(batch) = &fetched {
            let acked = batch.messages.iter().map(|message| message.token).collect();
            settler.settle(&one_unit(UnitSettlements { acked, ..UnitSettlements::new(batch.unit) })).await?;
        }
        Ok(fetched)
    }
}

/// Settles one message that was to come again later: exactly one, whichever member it is.
#[derive(Default)]
pub(crate) struct ForgetsRedelivery {
    forgot: Arc<AtomicBool>,
}

struct Forgetful(Arc<AtomicBool>);

impl Tamper for ForgetsRedelivery {
    fn member(&self, _: &Subscription) -> Arc<dyn TamperMember> {
        Arc::new(Forgetful(self.forgot.clone()))
    }
}

#[async_trait]
impl TamperMember for Forgetful {
    async fn settle(&self, settler: &dyn Settler, settlement: &Settlement) -> Result<Lost> {
        let mut settlement = settlement.clone();
        for unit in &mut settlement.units {
            let is_later = |disposition: &Disposition| matches!(disposition, Disposition::Later { .. });
            ack_instead(unit, |disposition| is_later(disposition) && !self.0.swap(true, Ordering::SeqCst));
        }
        settler.settle(&settlement).await
    }
}

/// Settles what was to become a dead letter.
#[derive(Clone, Copy)]
pub(crate) struct DropsDeadLetters;

#[async_trait]
impl TamperMember for DropsDeadLetters {
    async fn settle(&self, settler: &dyn Settler, settlement: &Settlement) -> Result<Lost> {
        let mut settlement = settlement.clone();
        for unit in &mut settlement.units {
            ack_instead(unit, |disposition| matches!(disposition, Disposition::Dead { .. }));
        }
        settler.settle(&settlement).await
    }
}

/// One of them.
fn ack_instead(unit: &mut UnitSettlements, which: impl Fn(&Disposition) -> bool) {
    if let Some(at) = unit.others.iter().position(|(_, disposition)| which(disposition)) {
        let (token, _) = unit.others.remove(at);
        unit.acked.push(token);
    }
}

/// Hands batches out backwards.
#[derive(Clone, Copy)]
pub(crate) struct LosesOrder;

#[async_trait]
impl TamperMember for LosesOrder {
    async fn fetch(&self, intake: &mut dyn Intake, _: &dyn Settler, credit: Credit) -> Result<Fetched> {
        let mut fetched = intake.fetch(credit).await?;
        if let Fetched::Batch(batch) = &mut fetched {
            batch.messages.reverse();
        }
        Ok(fetched)
    }
}

/// Settles on leaving what is to be given back.
#[derive(Clone, Copy)]
pub(crate) struct SettlesOnLeave;

#[async_trait]
impl TamperMember for SettlesOnLeave {
    async fn leave(&self, settler: &dyn Settler, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        for Returned { unit, token, .. } in returned {
            settler.settle(&one_unit(UnitSettlements { acked: vec![token], ..UnitSettlements::new(unit) })).await?;
        }
        settler.leave(Vec::new(), deadline).await
    }
}

/// Lets units go at once and waits for nobody.
#[derive(Clone, Copy)]
pub(crate) struct IgnoresDrain;

#[async_trait]
impl TamperMember for IgnoresDrain {
    async fn fetch(&self, intake: &mut dyn Intake, _: &dyn Settler, credit: Credit) -> Result<Fetched> {
        Ok(match intake.fetch(credit).await? {
            Fetched::Revoking(release) => {
                let (unheard, _) = Release::new(release.units.clone());
                release.release();
                Fetched::Revoking(unheard)
            }
            fetched => fetched,
        })
    }
}

/// Fetches ten times as much as there is room for.
#[derive(Clone, Copy)]
pub(crate) struct IgnoresCredit;

#[async_trait]
impl TamperMember for IgnoresCredit {
    async fn fetch(&self, intake: &mut dyn Intake, _: &dyn Settler, credit: Credit) -> Result<Fetched> {
        intake.fetch(Credit { messages: credit.messages * 10, bytes: usize::MAX, ..credit }).await
    }
}

/// Forgets that a lease must be renewed.
#[derive(Clone, Copy)]
pub(crate) struct NeverRenews;

#[async_trait]
impl TamperMember for NeverRenews {
    async fn renew(&self, _: &dyn Settler, _: Renewal) -> Result<Lost> {
        Ok(Vec::new())
    }
}

/// Forgets how often a message was tried.
#[derive(Clone, Copy)]
pub(crate) struct CountsNothing;

#[async_trait]
impl TamperMember for CountsNothing {
    async fn fetch(&self, intake: &mut dyn Intake, _: &dyn Settler, credit: Credit) -> Result<Fetched> {
        let mut fetched = intake.fetch(credit).await?;
        if let Fetched::Batch(batch) = &mut fetched {
            batch.messages.iter_mut().for_each(|message| message.attempt = 1);
        }
        Ok(fetched)
    }
}

/// Hands to each member a copy of what another one of its group got.
#[derive(Default)]
pub(crate) struct DeliversTwice {
    copies: Arc<Copies>,
}

#[derive(Default)]
struct Copies {
    batches: Mutex<Vec<(Subscription, Batch)>>,
    more: Notify,
}

struct Copying {
    subscription: Subscription,
    copies: Arc<Copies>,
}

impl Tamper for DeliversTwice {
    fn member(&self, subscription: &Subscription) -> Arc<dyn TamperMember> {
        Arc::new(Copying { subscription: subscription.clone(), copies: self.copies.clone() })
    }
}

impl Copying {
    fn copied(&self) -> Option<Batch> {
        let mut batches = self.copies.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = &self.subscription;
        let is_mate = |owner: &Subscription| (&owner.stream, &owner.group) == (&mine.stream, &mine.group);
        let at = batches.iter().position(|(owner, _)| is_mate(owner) && owner.member != mine.member)?;
        Some(batches.swap_remove(at).1)
    }
}

#[async_trait]
impl TamperMember for Copying {
    async fn fetch(&self, intake: &mut dyn Intake, settler: &dyn Settler, credit: Credit) -> Result<Fetched> {
        let mut more = std::pin::pin!(self.copies.more.notified());
        more.as_mut().enable();
        if let Some(batch) = self.copied() {
            return Ok(Fetched::Batch(batch));
        }
        let mut fetch = intake.fetch(credit);
        let fetched = tokio::select! {
            fetched = &mut fetch => fetched?,
            () = more => {
                settler.interrupt();
                fetch.await?
            }
        };
        if let Fetched::Batch(Batch { unit, messages }) = &fetched {
            let batch = Batch { unit: *unit, messages: messages.iter().map(copy).collect() };
            self.copies.batches.lock().unwrap_or_else(PoisonError::into_inner).push((self.subscription.clone(), batch));
            self.copies.more.notify_waiters();
        }
        Ok(fetched)
    }

    async fn settle(&self, settler: &dyn Settler, settlement: &Settlement) -> Result<Lost> {
        settler.settle(settlement).await.map(|_| Vec::new())
    }
}

pub(crate) fn copy(message: &Incoming) -> Incoming {
    let Incoming { token, origin, message, attempt, redelivered, published_ms, first_failed_ms, suspect } = message;
    Incoming {
        token: *token,
        origin: *origin,
        message: message.clone(),
        attempt: *attempt,
        redelivered: *redelivered,
        published_ms: *published_ms,
        first_failed_ms: *first_failed_ms,
        suspect: *suspect,
    }
}

/// Settles by message, not by who has it: a late ack removes the new owner's message.
#[derive(Default)]
pub(crate) struct LateAcks {
    book: Arc<Mutex<Book>>,
}

/// Who has which message, and by which token.
#[derive(Default)]
struct Book {
    settlers: BTreeMap<MemberName, Arc<dyn Settler>>,
    holders: BTreeMap<(UnitId, u64), (MemberName, Token)>,
}

struct Unfenced {
    name: MemberName,
    book: Arc<Mutex<Book>>,
}

#[async_trait]
impl Tamper for LateAcks {
    async fn join(&self, driver: &dyn Driver, subscription: Subscription) -> Result<Membership> {
        let name = subscription.member.clone();
        let membership = driver.join(subscription).await?;
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.settlers.insert(name, membership.settler.clone());
        drop(book);
        Ok(membership)
    }

    fn member(&self, subscription: &Subscription) -> Arc<dyn TamperMember> {
        Arc::new(Unfenced { name: subscription.member.clone(), book: self.book.clone() })
    }
}

impl Unfenced {
    fn holder(&self, unit: UnitId, token: Token) -> Option<(Arc<dyn Settler>, Token)> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, token) = book.holders.get(&(unit, token.0))?;
        Some((book.settlers.get(name)?.clone(), *token))
    }
}

#[async_trait]
impl TamperMember for Unfenced {
    async fn fetch(&self, intake: &mut dyn Intake, _: &dyn Settler, credit: Credit) -> Result<Fetched> {
        let fetched = intake.fetch(credit).await?;
        if let Fetched::Batch(batch) = &fetched {
            let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            for message in &batch.messages {
                book.holders.insert((batch.unit, message.token.0), (self.name.clone(), message.token));
            }
        }
        Ok(fetched)
    }

    async fn settle(&self, settler: &dyn Settler, settlement: &Settlement) -> Result<Lost> {
        for (unit, token) in settler.settle(settlement).await? {
            if let Some((owner, token)) = self.holder(unit, token) {
                owner.settle(&one_unit(UnitSettlements { acked: vec![token], ..UnitSettlements::new(unit) })).await?;
            }
        }
        Ok(Vec::new())
    }
}

pub(crate) fn one_unit(unit: UnitSettlements) -> Settlement {
    Settlement { again: false, units: vec![unit] }
}

//! What becomes of each call while a switch is set.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{
    Credit, Disposition, Driver, Fetched, Intake, Membership, Renewal, Returned, Settlement, Settler, Sink,
    Subscription, Undurable,
};
use zephcast_core::{
    Error, ErrorKind, GroupName, GroupStatus, Message, Position, PublishError, Result, StreamName, Token, UnitId,
};

use super::{Reach, Seam};
use crate::tamper::{Tamper, TamperMember};

pub(super) fn away(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the broker is away, on purpose")
}

pub(super) fn dead(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "this process is dead, on purpose")
}

#[async_trait]
impl Tamper for Seam {
    async fn publish(&self, sink: &dyn Sink, batch: &[Message]) -> Vec<Result<Option<Position>, PublishError>> {
        let all = |error: PublishError| batch.iter().map(|_| Err(error.clone())).collect();
        if self.state.borrow().publishes_held {
            self.until(|state| !state.publishes_held).await;
        }
        if let Err(error) = self.pass("publish").await {
            return all(PublishError::Failed(error));
        }
        let lose = self.take(|state| match state.publish_replies_to_lose {
            0 => false,
            calls => {
                state.publish_replies_to_lose = calls - 1;
                true
            }
        });
        let answers = sink.publish(batch).await;
        match lose {
            true => all(PublishError::Unknown(away("publish"))),
            false => answers,
        }
    }

    async fn open_sink(&self, driver: &dyn Driver, stream: &StreamName, create: bool) -> Result<Arc<dyn Sink>> {
        self.call("open", driver.open_sink(stream, create)).await
    }

    async fn join(&self, driver: &dyn Driver, subscription: Subscription) -> Result<Membership> {
        self.call("join", driver.join(subscription)).await
    }

    fn member(&self, _: &Subscription) -> Arc<dyn TamperMember> {
        Arc::new(Member { seam: self.clone(), late: Mutex::default() })
    }

    async fn group_status(&self, driver: &dyn Driver, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
        self.call("status", driver.group_status(stream, group)).await
    }

    async fn close(&self, driver: &dyn Driver, deadline: Duration) -> Result<()> {
        self.call("close", driver.close(deadline)).await
    }
}

struct Member {
    seam: Seam,
    /// What a fetch brought while the broker was away; handed over when it is back, since a fetch is never dropped.
    late: Mutex<Option<Fetched>>,
}

#[async_trait]
impl TamperMember for Member {
    async fn fetch(&self, intake: &mut dyn Intake, settler: &dyn Settler, credit: Credit) -> Result<Fetched> {
        self.seam.heard().await;
        self.seam.pass("fetch").await?;
        let mut failure = None;
        self.seam.take(|state| {
            failure = state.fetch_failure.take();
            failure.is_some()
        });
        if let Some(error) = failure {
            return Err(error);
        }
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(late) = late {
            return Ok(late);
        }
        let fetch = intake.fetch(credit);
        tokio::pin!(fetch);
        let fetched = tokio::select! {
            fetched = &mut fetch => fetched,
            () = self.seam.until(|state| matches!(state.reach, Reach::Away | Reach::Dead)) => {
                self.seam.pass("fetch").await.or_else(|error| match error.is_retryable() {
                    true => Ok(()),
                    false => Err(error),
                })?;
                settler.interrupt();
                fetch.await
            }
        };
        self.seam.heard().await;
        match self.seam.pass("fetch").await {
            Err(error) if error.is_retryable() => {
                let brought = fetched.ok().filter(|fetched| !matches!(fetched, Fetched::Idle));
                *self.late.lock().unwrap_or_else(PoisonError::into_inner) = brought;
                Err(error)
            }
            Err(error) => Err(error),
            Ok(()) => fetched,
        }
    }

    async fn settle(&self, settler: &dyn Settler, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        self.seam.pass("settle").await?;
        let has_dead_letter = settlement
            .units
            .iter()
            .any(|unit| unit.others.iter().any(|(_, other)| matches!(other, Disposition::Dead { .. })));
        let refused = has_dead_letter
            && self.seam.take(|state| {
                state.dead_letters_refused += usize::from(state.refuse_dead_letters);
                state.refuse_dead_letters
            });
        if refused {
            return Err(Error::new(ErrorKind::Blocked, "settle", "dead letters are refused, on purpose"));
        }
        let answer = self.seam.call("settle", settler.settle(settlement)).await;
        let lose = answer.is_ok()
            && self.seam.take(|state| match state.settle_replies_to_lose {
                0 => false,
                calls => {
                    state.settle_replies_to_lose = calls - 1;
                    true
                }
            });
        if lose { Err(away("settle")) } else { answer }
    }

    async fn commit(&self, settler: &dyn Settler) -> Result<Undurable> {
        self.seam.call("commit", settler.commit()).await
    }

    async fn renew(&self, settler: &dyn Settler, renewal: Renewal) -> Result<Vec<(UnitId, Token)>> {
        if self.seam.state.borrow().unheard {
            return Ok(Vec::new());
        }
        self.seam.call("renew", settler.renew(renewal)).await
    }

    async fn leave(&self, settler: &dyn Settler, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        self.seam.call("leave", settler.leave(returned, deadline)).await
    }
}

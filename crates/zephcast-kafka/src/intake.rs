//! The receiving half of a member.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::Result;
use zephcast_core::driver::{Batch, Credit, Fetched, Intake};

use crate::clock::now_ms;
use crate::member::Handle;

const OPERATION: &str = "fetch";
/// How soon a wait looks again when suspects are there that the engine did not take.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(crate) struct KafkaIntake {
    member: Arc<Handle>,
}

impl KafkaIntake {
    pub(crate) fn new(member: Arc<Handle>) -> Self {
        Self { member }
    }
}

#[async_trait]
impl Intake for KafkaIntake {
    async fn fetch(&mut self, credit: Credit) -> Result<Fetched> {
        let member = self.member.clone();
        tokio::select! {
            biased;
            fetched = self.fetch_next(credit) => fetched,
            () = member.interrupts.notified() => self.nothing(),
        }
    }
}

impl KafkaIntake {
    /// Cancel safe, as an interrupt drops it: what is taken out is returned without waiting in between; a suspect that was
    /// counted and not handed out is counted back.
    async fn fetch_next(&self, credit: Credit) -> Result<Fetched> {
        let member = &self.member;
        loop {
            let arrived = member.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let (next, wait, waited_for) = {
                let mut assignment = member.assignment();
                assignment.heard();
                let now = now_ms();
                let next = assignment.next(credit, now);
                let suspects = assignment.suspects_wait(now).then_some(LOOK_AGAIN);
                let due = assignment.wakes_at(now).filter(|_| credit.messages > 0);
                let due = due.map(|due| Duration::from_millis(due - now));
                let waited_for = assignment.is_waited_for(now);
                (next, suspects.into_iter().chain(due).min(), waited_for)
            };
            if waited_for {
                member.wake();
            }
            if let Some(next) = next {
                return next;
            }
            member.check_open(OPERATION)?;
            if credit.suspect {
                return self.one_suspect().await;
            }
            match wait {
                Some(wait) => drop(tokio::time::timeout(wait, arrived).await),
                None => arrived.await,
            }
        }
    }

    /// What is said when there is nothing to hand out.
    fn nothing(&self) -> Result<Fetched> {
        self.member.assignment().outage_to_tell().map_or(Ok(Fetched::Idle), Err)
    }

    /// Hands out one suspect, after its attempt was counted at the broker.
    async fn one_suspect(&self) -> Result<Fetched> {
        let Some((unit, offset)) = self.member.assignment().accuse(now_ms()) else { return Ok(Fetched::Idle) };
        let accused = Accused { member: &self.member, unit, offset };
        let durable = self.member.assignment().await_commit();
        self.member.wake();
        match tokio::time::timeout(self.member.config.request_timeout, durable).await {
            Ok(Ok(Ok(()))) => {}
            // Without it the suspect could kill unseen.
            Ok(Ok(Err(error))) if !error.is_retryable() => return Err(error),
            // The group may be about to divide its partitions anew.
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => return self.nothing(),
        }
        let handed = self.member.assignment().hand_out_suspect(unit, offset, now_ms());
        accused.stands(handed.is_some());
        Ok(handed.map_or(Fetched::Idle, |incoming| Fetched::Batch(Batch { unit, messages: vec![incoming] })))
    }
}

/// A suspect whose attempt was counted: counted back when dropped before it was handed out.
struct Accused<'a> {
    member: &'a Handle,
    unit: zephcast_core::UnitId,
    offset: i64,
}

impl Accused<'_> {
    fn stands(self, handed_out: bool) {
        if handed_out {
            std::mem::forget(self);
        }
    }
}

impl Drop for Accused<'_> {
    fn drop(&mut self) {
        if let Some(partition) = self.member.assignment().partition(self.unit) {
            partition.acquit(self.offset);
        }
    }
}

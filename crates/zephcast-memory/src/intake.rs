//! Receiving.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use zephcast_core::Result;
use zephcast_core::driver::{Credit, Fetched, Intake};

use crate::faults::{Operation, lost_reply};
use crate::group::{Step, read_first};
use crate::member::Member;

/// The receiving half of a member.
pub(crate) struct MemoryIntake {
    member: Arc<Member>,
    /// The last fetch failed: what the member holds is to be handed out once more.
    broken: bool,
}

/// What one look brought.
enum Look {
    Found(Fetched),
    /// Nothing; time alone may bring something then.
    Nothing(Option<Instant>),
}

impl MemoryIntake {
    pub(crate) fn new(member: Arc<Member>) -> Self {
        Self { member, broken: false }
    }

    async fn wait(&mut self, credit: Credit) -> Result<Fetched> {
        let member = self.member.clone();
        let rules = &member.client.core.rules;
        let plan = rules.meet(Operation::Fetch, Some(&member.name))?;
        if let Some(delay) = plan.delay {
            tokio::select! {
                biased;
                () = member.interrupted() => return Ok(Fetched::Idle),
                () = tokio::time::sleep(delay) => {}
            }
        }
        loop {
            // Listens before it looks, so that no change is missed.
            let changed = member.stream.changed();
            member.client.check_open(Operation::Fetch)?;
            rules.meet_again(Operation::Fetch, Some(&member.name))?;
            let until = match self.look(credit)? {
                Look::Found(fetched) => return Ok(fetched),
                Look::Nothing(until) => until,
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = member.interrupted() => return Ok(Fetched::Idle),
                () = sleep_until(until) => {}
            }
        }
    }

    /// Looks once, without waiting.
    fn look(&mut self, credit: Credit) -> Result<Look> {
        let member = &*self.member;
        let mut open = member.open(Operation::Fetch)?;
        if std::mem::take(&mut self.broken) {
            open.repeat_all(member.id);
        }
        loop {
            let step = open.step(member.id, credit)?;
            let (unit, from) = match step {
                Step::Give(Fetched::Batch(batch)) => {
                    return match self.loses_reply() {
                        true => {
                            open.unanswered(&batch);
                            Err(lost_reply(Operation::Fetch))
                        }
                        false => Ok(Look::Found(Fetched::Batch(batch))),
                    };
                }
                Step::Give(fetched) => return Ok(Look::Found(fetched)),
                Step::Wait(until) => return Ok(Look::Nothing(until)),
                Step::Read(unit, from) => (unit, from),
            };
            // Reading holds no lock of the group: members read side by side.
            drop(open);
            let batch = read_first(&member.stream.log(unit), unit, from, credit);
            open = member.open(Operation::Fetch)?;
            if !batch.messages.is_empty() && open.claim(member.id, unit, from, batch.messages.len() as u64) {
                return if self.loses_reply() {
                    Err(lost_reply(Operation::Fetch))
                } else {
                    Ok(Look::Found(Fetched::Batch(batch)))
                };
            }
        }
    }

    fn loses_reply(&self) -> bool {
        self.member.client.core.rules.loses_reply(Operation::Fetch, Some(&self.member.name))
    }
}

#[async_trait]
impl Intake for MemoryIntake {
    async fn fetch(&mut self, credit: Credit) -> Result<Fetched> {
        let fetched = self.wait(credit).await;
        self.broken |= fetched.is_err();
        self.member.answer_interrupt();
        fetched
    }
}

/// Waits until then; for ever without a time.
async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

//! A member at the seam: its intake and its settler.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until};
use zephcast_core::driver::{Credit, Fetched, Intake, Renewal, Returned, Settlement, Settler};
use zephcast_core::{Error, ErrorKind, Result, Token, UnitId};

use crate::broker::State;
use crate::driver::{Wire, away};
use crate::faults::{Fault, Link, Operation};
use crate::schedule::Flavour;

/// How long a fetch hears nothing before it gives up.
const DEAF: Duration = Duration::from_secs(2);

pub(crate) struct ModelIntake {
    wire: Wire,
    id: usize,
}

impl ModelIntake {
    pub(crate) fn new(wire: Wire, id: usize) -> Self {
        Self { wire, id }
    }

    async fn wait(&self, credit: Credit) -> Result<Fetched> {
        let fault = {
            let mut state = self.wire.broker.open();
            state.members[self.id].fetched = true;
            state.check_credit(self.id, credit);
            state.draw(Operation::Fetch, |state| state.members[self.id].name.clone())
        };
        match fault {
            Some(Fault::Refuse) => return Err(away("refused")),
            Some(Fault::Forbid) => {
                self.wire.broker.open().members[self.id].forbidden = true;
                return Err(Error::new(ErrorKind::PermissionDenied, "fetch", "not any more"));
            }
            Some(Fault::Slow(delay)) if self.interrupted_within(delay).await => return Ok(Fetched::Idle),
            Some(Fault::Hang) if self.interrupted_within(DEAF).await => return Ok(Fetched::Idle),
            Some(Fault::Hang) => return Err(Error::new(ErrorKind::Timeout, "fetch", "no answer")),
            Some(Fault::Slow(_) | Fault::LoseReply | Fault::Late(_)) | None => {}
        }
        let fetched = self.next(credit).await?;
        match (fault, fetched) {
            (Some(Fault::LoseReply), Fetched::Batch(batch)) => {
                let mut state = self.wire.broker.open();
                match state.setup.flavour {
                    Flavour::Shared => state.unanswered_shared(&batch),
                    Flavour::Assigned => state.unanswered_assigned(self.id, &batch),
                }
                Err(away("the answer is lost"))
            }
            (Some(Fault::Late(delay)), fetched) => {
                // An interrupted fetch returns what it has.
                self.interrupted_within(delay).await;
                Ok(fetched)
            }
            (_, fetched) => Ok(fetched),
        }
    }

    /// Waits until there is something for this member.
    async fn next(&self, credit: Credit) -> Result<Fetched> {
        let mut deaf = Instant::now() + DEAF;
        loop {
            let mut changed = std::pin::pin!(self.wire.broker.changed.notified());
            changed.as_mut().enable();
            let until = {
                let mut state = self.wire.broker.open();
                if state.members[self.id].interrupted {
                    return Ok(Fetched::Idle);
                }
                match state.link(self.id) {
                    Link::Refused | Link::Dead => return Err(away("no connection")),
                    Link::BlackHole if deaf <= state.now => {
                        return Err(Error::new(ErrorKind::Timeout, "fetch", "no answer"));
                    }
                    Link::BlackHole => Some(deaf),
                    Link::Up => {
                        deaf = state.now + DEAF;
                        if let Some(fetched) = state.look(self.id, credit) {
                            return Ok(fetched);
                        }
                        state.next_change()
                    }
                }
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep_until(until.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600))) => {}
            }
        }
    }

    /// Whether an interrupt came within this time.
    async fn interrupted_within(&self, time: Duration) -> bool {
        let mut over = std::pin::pin!(sleep(time));
        loop {
            let mut changed = std::pin::pin!(self.wire.broker.changed.notified());
            changed.as_mut().enable();
            if self.wire.broker.open().members[self.id].interrupted {
                return true;
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = &mut over => return false,
            }
        }
    }
}

#[async_trait]
impl Intake for ModelIntake {
    async fn fetch(&mut self, credit: Credit) -> Result<Fetched> {
        let fetched = self.wait(credit).await;
        let mut state = self.wire.broker.open();
        state.members[self.id].interrupted = false;
        match &fetched {
            Ok(fetched) => state.received(self.id, fetched),
            Err(_) => state.members[self.id].repeat = Some((0, 0)),
        }
        drop(state);
        self.wire.broker.wake();
        fetched
    }
}

pub(crate) struct ModelSettler {
    wire: Wire,
    id: usize,
}

impl ModelSettler {
    pub(crate) fn new(wire: Wire, id: usize) -> Self {
        Self { wire, id }
    }

    fn name(&self) -> String {
        self.wire.broker.open().members[self.id].name.clone()
    }
}

#[async_trait]
impl Settler for ModelSettler {
    async fn settle(&self, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        let (id, name) = (self.id, self.name());
        let told = {
            let mut state = self.wire.broker.open();
            state.note(|| format!("{name} settles {}", shown(settlement)));
            let told = state.members[id].told.clone();
            state.check_settlement(id, settlement, &told);
            told
        };
        let settle = |state: &mut State| {
            let lost = match state.setup.flavour {
                Flavour::Shared => state.settle_shared(id, settlement),
                Flavour::Assigned => state.settle_assigned(id, settlement, &told),
            };
            state.note(|| format!("{} settled, lost {lost:?}", state.members[id].name));
            Ok(lost)
        };
        self.wire.call(Operation::Settle, &name, settle).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<Vec<(UnitId, Token)>> {
        let id = self.id;
        let renew = |state: &mut State| {
            Ok(match state.setup.flavour {
                Flavour::Shared => state.renew_shared(id, &renewal.held),
                Flavour::Assigned => state.renew_assigned(id, &renewal.held),
            })
        };
        self.wire.call(Operation::Renew, &self.name(), renew).await
    }

    fn interrupt(&self) {
        self.wire.broker.open().members[self.id].interrupted = true;
        self.wire.broker.wake();
    }

    async fn leave(&self, returned: Vec<Returned>, _deadline: Duration) -> Result<()> {
        let (id, name) = (self.id, self.name());
        {
            let mut state = self.wire.broker.open();
            state.note(|| format!("{name} leaves, gives back {}", returned.len()));
            state.check_leave(id, &returned);
        }
        let leave = |state: &mut State| {
            state.leave(id, &returned);
            Ok(())
        };
        self.wire.call(Operation::Leave, &name, leave).await
    }
}

impl State {
    fn leave(&mut self, id: usize, returned: &[Returned]) {
        self.members[id].left = true;
        for handout in self.handouts.iter_mut().filter(|handout| handout.member == id && !handout.ended) {
            // What is unfinished had an attempt of which nobody knows the end.
            if handout.is_started() && !handout.durable {
                handout.excused = true;
                self.messages[handout.message].disturbed = true;
            }
        }
        match self.setup.flavour {
            Flavour::Shared => self.leave_shared(id, returned),
            Flavour::Assigned => self.leave_assigned(id),
        }
        for handout in self.handouts.iter_mut().filter(|handout| handout.member == id) {
            handout.ended = true;
        }
    }
}

fn shown(settlement: &Settlement) -> String {
    let mut text = String::new();
    for settled in &settlement.units {
        let acked: Vec<u64> = settled.acked.iter().map(|token| token.0).collect();
        let others: Vec<u64> = settled.others.iter().map(|(token, _)| token.0).collect();
        let frontier = settled.frontier.map(|token| token.0);
        text += &format!("[unit {}: acks {acked:?}, others {others:?}, frontier {frontier:?}] ", settled.unit);
    }
    text
}

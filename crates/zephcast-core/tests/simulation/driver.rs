//! The driver of one process: how calls reach the broker, and all of it that is not a member's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use zephcast_core::driver::{
    Admin, Browsed, Check, Cursor, DeadLetter, Driver, Membership, Redrive, Sink, StreamSpec, Subscription,
};
use zephcast_core::{
    Broker as BrokerName, Capabilities, Error, ErrorKind, GroupName, GroupStatus, Message, Order, Position,
    PositionStyle, PublishError, Result, Start, StreamName, StreamStatus, Token, UnitId,
};

use crate::broker::{Broker, Member, State};
use crate::faults::{Fault, Link, Operation};
use crate::member::{ModelIntake, ModelSettler};
use crate::schedule::Flavour;

/// How long a call hangs that nobody answers.
const HANGING: Duration = Duration::from_secs(1);

/// One process's way to the broker.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) broker: Arc<Broker>,
    pub(crate) process: usize,
}

impl Wire {
    /// Resolves when the broker can be reached.
    pub(crate) async fn connected(&self) -> Result<()> {
        let mut patience = std::pin::pin!(sleep(HANGING));
        loop {
            let mut changed = std::pin::pin!(self.broker.changed.notified());
            changed.as_mut().enable();
            match self.link() {
                Link::Up => return Ok(()),
                Link::Refused | Link::Dead => return Err(away("no connection")),
                Link::BlackHole => {}
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = &mut patience => return Err(Error::new(ErrorKind::Timeout, "call", "no answer")),
            }
        }
    }

    /// One call: `effect` happens at the broker, unless something is in its way.
    pub(crate) async fn call<T>(
        &self,
        operation: Operation,
        who: &str,
        effect: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        self.connected().await?;
        let fault = self.broker.open().draw(operation, |_| who.to_owned());
        match fault {
            Some(Fault::Refuse) => return Err(away("refused")),
            Some(Fault::Slow(delay)) => {
                sleep(delay).await;
                self.connected().await?;
            }
            Some(Fault::Hang) => {
                sleep(HANGING).await;
                return Err(Error::new(ErrorKind::Timeout, "call", "no answer"));
            }
            Some(Fault::LoseReply | Fault::Late(_) | Fault::Forbid) | None => {}
        }
        let done = effect(&mut self.broker.open());
        self.broker.wake();
        match fault {
            Some(Fault::LoseReply) => return Err(away("the answer is lost")),
            Some(Fault::Late(delay)) => {
                sleep(delay).await;
                self.connected().await?;
            }
            _ => {}
        }
        done
    }

    fn link(&self) -> Link {
        self.broker.open().processes[self.process]
    }
}

pub(crate) fn away(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "call", what)
}

/// The driver that a process's client uses.
pub(crate) struct ModelDriver {
    wire: Wire,
    capabilities: Capabilities,
}

impl ModelDriver {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        let mut state = broker.open();
        let process = state.processes.len();
        state.processes.push(Link::Up);
        let mut capabilities = Capabilities::least(BrokerName::Other("model"));
        capabilities.positions = PositionStyle::UnitOffset;
        capabilities.assigns_units = state.setup.flavour == Flavour::Assigned;
        capabilities.order = if capabilities.assigns_units { Order::Unit } else { Order::SingleMember };
        capabilities.leases = true;
        drop(state);
        Self { wire: Wire { broker, process }, capabilities }
    }

    pub(crate) fn process(&self) -> usize {
        self.wire.process
    }
}

#[async_trait]
impl Driver for ModelDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open_sink(&self, _stream: &StreamName, _create: bool) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(ModelSink { wire: self.wire.clone() }))
    }

    async fn join(&self, subscription: Subscription) -> Result<Membership> {
        let (process, name) = (self.wire.process, subscription.member.as_str().to_owned());
        let join = |state: &mut State| {
            let id = state.members.len();
            let by_key = name.starts_with('h');
            state.members.push(Member { name: name.clone(), process, by_key, ..Member::default() });
            if state.setup.flavour == Flavour::Assigned {
                state.join_assigned(id);
            }
            Ok(id)
        };
        let id = self.wire.call(Operation::Join, &name, join).await?;
        Ok(Membership {
            intake: Box::new(ModelIntake::new(self.wire.clone(), id)),
            settler: Arc::new(ModelSettler::new(self.wire.clone(), id)),
        })
    }

    async fn group_status(&self, _stream: &StreamName, _group: &GroupName) -> Result<GroupStatus> {
        Err(unsupported())
    }

    fn admin(&self) -> &dyn Admin {
        self
    }

    async fn close(&self, _deadline: Duration) -> Result<()> {
        Ok(())
    }
}

struct ModelSink {
    wire: Wire,
}

#[async_trait]
impl Sink for ModelSink {
    async fn publish(&self, batch: &[Message]) -> Vec<Result<Option<Position>, PublishError>> {
        let all = |error: PublishError| vec![Err(error); batch.len()];
        if let Err(error) = self.wire.connected().await {
            let unknown = error.kind() == ErrorKind::Timeout;
            return all(if unknown { PublishError::Unknown(error) } else { PublishError::Failed(error) });
        }
        // Batches are stored on the first poll, so that they keep the order of the calls; only answers come late.
        let (fault, positions) = {
            let mut state = self.wire.broker.open();
            let fault = state.draw(Operation::Publish, |_| "publisher".into());
            let stored = !matches!(fault, Some(Fault::Refuse | Fault::Hang));
            let positions: Vec<_> = batch
                .iter()
                .filter(|_| stored)
                .map(|message| {
                    let (unit, offset) = state.store(message_number(message));
                    Position::new(PositionStyle::UnitOffset, UnitId(unit), Token(offset, 0))
                })
                .collect();
            (fault, positions)
        };
        self.wire.broker.wake();
        match fault {
            Some(Fault::Refuse) => return all(PublishError::Failed(away("refused"))),
            Some(Fault::LoseReply) => return all(PublishError::Unknown(away("the answer is lost"))),
            Some(Fault::Late(delay) | Fault::Slow(delay)) => sleep(delay).await,
            Some(Fault::Hang) => {
                sleep(HANGING).await;
                return all(PublishError::Unknown(away("no answer")));
            }
            Some(Fault::Forbid) | None => {}
        }
        positions.into_iter().map(|position| Ok(Some(position))).collect()
    }
}

/// Messages of the simulation begin with their number.
fn message_number(message: &Message) -> usize {
    let text = message.payload_str().unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a payload begins with its number")
}

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "admin", "the model has no such thing")
}

#[async_trait]
impl Admin for ModelDriver {
    async fn create_stream(&self, _spec: &StreamSpec) -> Result<()> {
        Err(unsupported())
    }

    async fn delete_stream(&self, _stream: &StreamName) -> Result<()> {
        Err(unsupported())
    }

    async fn streams(&self) -> Result<Vec<StreamStatus>> {
        Err(unsupported())
    }

    async fn stream(&self, _stream: &StreamName) -> Result<StreamStatus> {
        Err(unsupported())
    }

    async fn create_group(&self, _stream: &StreamName, _group: &GroupName, _start: Start) -> Result<()> {
        Err(unsupported())
    }

    async fn seek_group(&self, _stream: &StreamName, _group: &GroupName, _to: Start) -> Result<()> {
        Err(unsupported())
    }

    async fn delete_group(&self, _stream: &StreamName, _group: &GroupName) -> Result<()> {
        Err(unsupported())
    }

    async fn browse(&self, _stream: &StreamName, _from: &Cursor, _limit: usize) -> Result<Browsed> {
        Err(unsupported())
    }

    async fn dead_letters(
        &self,
        _stream: &StreamName,
        _group: &GroupName,
        _after: Option<Position>,
        _limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        Err(unsupported())
    }

    async fn redrive(&self, _stream: &StreamName, _group: &GroupName, _position: Position) -> Result<Redrive> {
        Err(unsupported())
    }

    async fn purge_dead_letters(&self, _stream: &StreamName, _group: &GroupName) -> Result<u64> {
        Err(unsupported())
    }

    async fn trim(&self, _stream: &StreamName) -> Result<u64> {
        Err(unsupported())
    }

    async fn check(&self) -> Result<Check> {
        Err(unsupported())
    }
}

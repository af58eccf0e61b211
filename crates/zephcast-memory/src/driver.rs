//! The driver: one client of an embedded broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{Admin, Driver, Membership, Sink, Subscription};
use zephcast_core::{Broker, Capabilities, GroupName, GroupStatus, Order, PositionStyle, Result, Starts, StreamName};

use crate::broker::Core;
use crate::client::Client;
use crate::error::no_group;
use crate::faults::Operation;
use crate::intake::MemoryIntake;
use crate::member::Member;
use crate::settler::MemorySettler;
use crate::sink::MemorySink;
use crate::stream::Stream;

/// One client of a [`MemoryBroker`](crate::MemoryBroker), as the engine uses it.
///
/// - A unit is a partition; members have units of their own, which move in good order when members come and go.
/// - A member's lease is kept by renewing it. Dropping a member's halves without leaving is an unclean end at once.
/// - A token's first part is the offset, the second is 0 on the first hand-out and grows with each later one: a late
///   settlement never touches what was handed out since.
/// - While suspects of a unit wait, nothing else of that unit is handed out, so that order by key holds. A fetch for a
///   suspect brings nothing but news and suspects, and does not wait for them.
/// - A fetch without credit for a message waits for news of the assignment only.
#[derive(Debug)]
pub struct MemoryDriver {
    pub(crate) client: Client,
    capabilities: Capabilities,
}

impl MemoryDriver {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { client: Client::new(core), capabilities: capabilities() }
    }

    /// The stream to publish to or to join.
    pub(crate) fn open_stream(&self, operation: &'static str, name: &StreamName, create: bool) -> Result<Arc<Stream>> {
        let core = &self.client.core;
        if create {
            return Ok(core.stream_or_create(name, || core.default_stream(name)));
        }
        core.stream(operation, name)
    }
}

fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::least(Broker::Memory);
    capabilities.positions = PositionStyle::UnitOffset;
    capabilities.order = Order::Unit;
    capabilities.assigns_units = true;
    capabilities.leases = true;
    capabilities.exclusive_names = true;
    capabilities.starts = Starts { latest: true, time: true, position: true };
    capabilities.nulls = true;
    capabilities.duplicate_headers = true;
    capabilities.binary_header_names = true;
    capabilities.keeps_without_group = true;
    capabilities.browse = true;
    capabilities.seek = true;
    capabilities.partitions = true;
    capabilities
}

#[async_trait]
impl Driver for MemoryDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open_sink(&self, stream: &StreamName, create: bool) -> Result<Arc<dyn Sink>> {
        let open = || self.open_stream("open publisher", stream, create);
        let stream = self.client.call(Operation::Admin, None, open).await?;
        Ok(Arc::new(MemorySink::new(self.client.clone(), stream)))
    }

    async fn join(&self, subscription: Subscription) -> Result<Membership> {
        let join = || {
            let stream = self.open_stream("join", &subscription.stream, subscription.create)?;
            loop {
                let group = stream.group_or_create(&subscription.group, subscription.start)?;
                // None when it was deleted just now: then it begins anew.
                let id = group.open(&stream).join(&subscription);
                if let Some(id) = id {
                    return Ok(Member::new(self.client.clone(), stream, group, id, subscription.member.clone()));
                }
            }
        };
        let member = Arc::new(self.client.call(Operation::Join, Some(&subscription.member), join).await?);
        Ok(Membership {
            intake: Box::new(MemoryIntake::new(member.clone())),
            settler: Arc::new(MemorySettler::new(member)),
        })
    }

    async fn group_status(&self, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
        let look = || {
            let stream = self.client.core.stream("group status", stream)?;
            let group = stream.group(group).ok_or_else(|| no_group("group status", stream.name(), group))?;
            Ok(group.open(&stream).status())
        };
        self.client.call(Operation::Admin, None, look).await
    }

    fn admin(&self) -> &dyn Admin {
        self
    }

    async fn close(&self, _deadline: Duration) -> Result<()> {
        self.client.close();
        Ok(())
    }
}

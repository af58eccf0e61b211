//! Publishing.

use std::sync::Arc;

use async_trait::async_trait;
use zephcast_core::driver::Sink;
use zephcast_core::{Message, Position, PublishError, Result};

use crate::client::Client;
use crate::error::no_stream;
use crate::faults::{Operation, lost_reply};
use crate::stream::Stream;

/// The way to publish to one stream.
pub(crate) struct MemorySink {
    client: Client,
    stream: Arc<Stream>,
}

impl MemorySink {
    pub(crate) fn new(client: Client, stream: Arc<Stream>) -> Self {
        Self { client, stream }
    }

    /// Stores the batch on the first poll, so that batches are stored in the order of the calls; only the answer can
    /// come late.
    async fn store(&self, batch: &[Message]) -> Result<Vec<Position>, PublishError> {
        self.client.check_open(Operation::Publish).map_err(PublishError::Failed)?;
        let rules = &self.client.core.rules;
        let plan = rules.meet(Operation::Publish, None).map_err(PublishError::Failed)?;
        if self.stream.is_deleted() {
            return Err(PublishError::Failed(no_stream("publish", self.stream.name())));
        }
        let positions = self.stream.append(batch, self.client.core.clock.wall_ms());
        if let Some(delay) = plan.delay {
            tokio::time::sleep(delay).await;
            let cut = rules.meet_again(Operation::Publish, None);
            cut.map_err(|_| PublishError::Unknown(lost_reply(Operation::Publish)))?;
        }
        if plan.lost {
            return Err(PublishError::Unknown(lost_reply(Operation::Publish)));
        }
        Ok(positions)
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn publish(&self, batch: &[Message]) -> Vec<Result<Option<Position>, PublishError>> {
        match self.store(batch).await {
            Ok(positions) => positions.into_iter().map(|position| Ok(Some(position))).collect(),
            Err(error) => vec![Err(error); batch.len()],
        }
    }
}

//! A broker that costs nothing a message: everything is made before the counting begins, and handed over as it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use zephcast::driver::{
    Admin, Batch, Credit, Driver, Fetched, Incoming, Intake, Membership, Renewal, Returned, Settlement, Settler, Sink,
    Subscription,
};
use zephcast::memory::{MemoryBroker, MemoryDriver};
use zephcast::{
    Capabilities, Client, GroupName, GroupStatus, Message, MessageId, Position, PublishError, Result, StreamName,
    Token, UnitId,
};

use crate::PAYLOAD_BYTES;

/// Messages of a batch: what a member has room for when a quarter of its window is free.
const BATCH: usize = 250;

/// A client of such a broker, with so many messages to consume.
pub(crate) fn client(messages: usize) -> Client {
    Client::new(Arc::new(Source {
        real: MemoryBroker::new().driver(),
        batches: Arc::new(Mutex::new(batches(messages))),
        interrupt: Arc::default(),
    }))
}

fn batches(messages: usize) -> Vec<Batch> {
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let numbers: Vec<u64> = (0..messages as u64).collect();
    let incoming = |number: &u64| Incoming {
        token: Token(*number, 0),
        origin: (UnitId(0), Token(*number, 0)),
        message: Message::new(payload.clone()).with_id(MessageId::new("id")),
        attempt: 1,
        published_ms: Some(1),
        first_failed_ms: None,
        redelivered: false,
        suspect: false,
    };
    let batch = |numbers: &[u64]| Batch { unit: UnitId(0), messages: numbers.iter().map(incoming).collect() };
    // The first is taken from the end.
    numbers.chunks(BATCH).rev().map(batch).collect()
}

struct Source {
    /// Answers what is not measured.
    real: Arc<MemoryDriver>,
    batches: Arc<Mutex<Vec<Batch>>>,
    interrupt: Arc<Notify>,
}

#[async_trait]
impl Driver for Source {
    fn capabilities(&self) -> &Capabilities {
        self.real.capabilities()
    }

    async fn open_sink(&self, _: &StreamName, _: bool) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(Stored))
    }

    async fn join(&self, _: Subscription) -> Result<Membership> {
        let (batches, interrupt) = (self.batches.clone(), self.interrupt.clone());
        let settler = Arc::new(Settled { interrupt: interrupt.clone() });
        Ok(Membership { intake: Box::new(Taken { batches, interrupt }), settler })
    }

    async fn group_status(&self, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
        self.real.group_status(stream, group).await
    }

    fn admin(&self) -> &dyn Admin {
        self.real.admin()
    }

    async fn close(&self, deadline: Duration) -> Result<()> {
        self.real.close(deadline).await
    }
}

struct Stored;

#[async_trait]
impl Sink for Stored {
    async fn publish(&self, batch: &[Message]) -> Vec<Result<Option<Position>, PublishError>> {
        batch.iter().map(|_| Ok(None)).collect()
    }
}

struct Taken {
    batches: Arc<Mutex<Vec<Batch>>>,
    interrupt: Arc<Notify>,
}

#[async_trait]
impl Intake for Taken {
    async fn fetch(&mut self, credit: Credit) -> Result<Fetched> {
        if credit.messages >= BATCH
            && let Some(batch) = self.batches.lock().unwrap_or_else(PoisonError::into_inner).pop()
        {
            return Ok(Fetched::Batch(batch));
        }
        self.interrupt.notified().await;
        Ok(Fetched::Idle)
    }
}

struct Settled {
    interrupt: Arc<Notify>,
}

#[async_trait]
impl Settler for Settled {
    async fn settle(&self, _: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        Ok(Vec::new())
    }

    async fn renew(&self, _: Renewal) -> Result<Vec<(UnitId, Token)>> {
        Ok(Vec::new())
    }

    fn interrupt(&self) {
        self.interrupt.notify_one();
    }

    async fn leave(&self, _: Vec<Returned>, _: Duration) -> Result<()> {
        Ok(())
    }
}

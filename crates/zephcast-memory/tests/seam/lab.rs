//! A broker, its members, and short words for what they do.

use std::sync::Arc;
use std::time::Duration;

use zephcast_core::driver::{
    Admin, Batch, Credit, Disposition, Driver, Failure, Fetched, Held, Incoming, Intake, Release, Renewal, Returned,
    Settlement, Settler, Sink, Subscription, UnitSettlements,
};
use zephcast_core::{
    Error, GroupName, GroupStatus, MemberName, Message, Position, PublishError, Result, Start, StreamName, Token,
    UnitId,
};
use zephcast_memory::{MemoryBroker, MemoryConfig, MemoryDriver};

pub(crate) const LEASE: Duration = Duration::from_secs(30);

pub(crate) struct Lab {
    pub(crate) broker: MemoryBroker,
    pub(crate) driver: Arc<MemoryDriver>,
}

/// A broker whose streams have so many partitions.
pub(crate) fn lab(partitions: u32) -> Lab {
    with(MemoryConfig::new().partitions(partitions))
}

pub(crate) fn with(config: MemoryConfig) -> Lab {
    let broker = MemoryBroker::with_config(config);
    Lab { driver: broker.driver(), broker }
}

pub(crate) fn stream() -> StreamName {
    StreamName::new("orders").unwrap()
}

pub(crate) fn group() -> GroupName {
    GroupName::new("billing").unwrap()
}

pub(crate) fn subscription(member: &str) -> Subscription {
    let mut subscription = Subscription::new(stream(), group());
    subscription.member = MemberName::new(member).unwrap();
    subscription.lease = LEASE;
    subscription
}

impl Lab {
    pub(crate) async fn sink(&self) -> Arc<dyn Sink> {
        self.driver.open_sink(&stream(), true).await.unwrap()
    }

    /// Publishes these payloads without a key.
    pub(crate) async fn publish<const N: usize>(&self, payloads: [&'static str; N]) -> [Position; N] {
        let results = self.try_publish(payloads).await;
        let positions: Vec<_> = results.into_iter().map(|result| result.unwrap().unwrap()).collect();
        positions.try_into().unwrap()
    }

    pub(crate) async fn try_publish<const N: usize>(
        &self,
        payloads: [&'static str; N],
    ) -> Vec<Result<Option<Position>, PublishError>> {
        self.sink().await.publish(&payloads.map(Message::new)).await
    }

    pub(crate) async fn join(&self, member: &str) -> Member {
        self.join_as(subscription(member)).await.unwrap()
    }

    pub(crate) async fn join_as(&self, subscription: Subscription) -> Result<Member> {
        let membership = self.driver.join(subscription).await?;
        Ok(Member { intake: membership.intake, settler: membership.settler })
    }

    pub(crate) async fn start_at(&self, group: &str, start: Start) -> Result<Member> {
        let mut subscription = subscription("starter");
        subscription.group = GroupName::new(group).unwrap();
        subscription.start = start;
        self.join_as(subscription).await
    }

    pub(crate) async fn status(&self) -> GroupStatus {
        self.driver.group_status(&stream(), &group()).await.unwrap()
    }

    pub(crate) fn admin(&self) -> &dyn Admin {
        self.driver.admin()
    }
}

pub(crate) struct Member {
    pub(crate) intake: Box<dyn Intake>,
    pub(crate) settler: Arc<dyn Settler>,
}

pub(crate) fn credit(messages: usize) -> Credit {
    Credit { messages, bytes: 1 << 20, suspect: false }
}

pub(crate) fn alone() -> Credit {
    Credit { suspect: true, ..credit(100) }
}

impl Member {
    /// The next thing, whatever it is.
    pub(crate) async fn fetch(&mut self) -> Fetched {
        self.intake.fetch(credit(100)).await.unwrap()
    }

    pub(crate) async fn fails(&mut self) -> Error {
        self.intake.fetch(credit(100)).await.unwrap_err()
    }

    pub(crate) async fn assigned(&mut self) -> Vec<u32> {
        match self.fetch().await {
            Fetched::Assigned(units) => numbers(&units),
            other => panic!("not assigned: {other:?}"),
        }
    }

    pub(crate) async fn lost(&mut self) -> Vec<u32> {
        match self.fetch().await {
            Fetched::Lost(units) => numbers(&units),
            other => panic!("not lost: {other:?}"),
        }
    }

    pub(crate) async fn revoking(&mut self) -> Release {
        match self.fetch().await {
            Fetched::Revoking(release) => release,
            other => panic!("not revoking: {other:?}"),
        }
    }

    pub(crate) async fn batch(&mut self) -> Batch {
        self.batch_of(credit(100)).await
    }

    pub(crate) async fn batch_of(&mut self, credit: Credit) -> Batch {
        match self.intake.fetch(credit).await.unwrap() {
            Fetched::Batch(batch) => batch,
            other => panic!("not a batch: {other:?}"),
        }
    }

    /// The only message of the next batch.
    pub(crate) async fn one(&mut self) -> Incoming {
        let mut batch = self.batch().await;
        assert_eq!(batch.messages.len(), 1, "{batch:?}");
        batch.messages.remove(0)
    }

    /// Nothing is there for it now.
    pub(crate) async fn quiet(&mut self) {
        self.settler.interrupt();
        let fetched = self.fetch().await;
        assert!(matches!(fetched, Fetched::Idle), "{fetched:?}");
    }

    pub(crate) async fn ack(&self, batch: &Batch) -> Vec<(UnitId, Token)> {
        self.ack_tokens(batch.unit.0, batch.messages.iter().map(|message| message.token)).await.unwrap()
    }

    pub(crate) async fn ack_tokens(
        &self,
        unit: u32,
        tokens: impl IntoIterator<Item = Token>,
    ) -> Result<Vec<(UnitId, Token)>> {
        let mut settlements = UnitSettlements::new(UnitId(unit));
        settlements.acked = tokens.into_iter().collect();
        self.settler.settle(&settlement(settlements)).await
    }

    pub(crate) async fn dispose(
        &self,
        unit: u32,
        token: Token,
        disposition: Disposition,
    ) -> Result<Vec<(UnitId, Token)>> {
        let mut settlements = UnitSettlements::new(UnitId(unit));
        settlements.others = vec![(token, disposition)];
        self.settler.settle(&settlement(settlements)).await
    }

    pub(crate) async fn renew(&self) -> Vec<(UnitId, Token)> {
        self.settler.renew(Renewal::default()).await.unwrap()
    }

    pub(crate) async fn renew_held(&self, unit: u32, tokens: Vec<Token>) -> Vec<(UnitId, Token)> {
        let held = vec![Held { unit: UnitId(unit), tokens }];
        self.settler.renew(Renewal { held, oldest: None }).await.unwrap()
    }

    pub(crate) async fn leave(&self, returned: Vec<Returned>) {
        self.settler.leave(returned, Duration::from_secs(1)).await.unwrap();
    }
}

pub(crate) fn settlement(unit: UnitSettlements) -> Settlement {
    Settlement { units: vec![unit], ..Settlement::default() }
}

pub(crate) fn later(message: &Incoming, delay: Duration) -> Disposition {
    Disposition::Later {
        delay,
        attempts: message.attempt,
        message: Box::new(message.message.clone()),
        origin: position(0, message.origin.1.0),
        published_ms: None,
        first_failed_ms: Some(failure().first_failed_ms),
    }
}

pub(crate) fn dead(message: &Incoming) -> Disposition {
    Disposition::Dead {
        message: Box::new(message.message.clone()),
        origin: position(0, message.origin.1.0),
        published_ms: None,
        attempts: message.attempt,
        failure: failure(),
    }
}

pub(crate) fn failure() -> Failure {
    Failure { reason: "no such customer".into(), first_failed_ms: 7, last_failed_ms: 9 }
}

pub(crate) fn position(unit: u32, offset: u64) -> Position {
    Position::new(zephcast_core::PositionStyle::UnitOffset, UnitId(unit), Token(offset, 0))
}

pub(crate) fn numbers(units: &[UnitId]) -> Vec<u32> {
    units.iter().map(|unit| unit.0).collect()
}

pub(crate) fn payloads(batch: &Batch) -> Vec<&str> {
    batch.messages.iter().map(|incoming| incoming.message.payload_str().unwrap()).collect()
}

pub(crate) fn tokens(batch: &Batch) -> Vec<Token> {
    batch.messages.iter().map(|incoming| incoming.token).collect()
}

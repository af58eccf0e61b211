//! A member at the library's simulation of a cluster, which does what no real broker does when told.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::time::timeout;
use zephcast_core::driver::{Credit, Fetched, Intake, Subscription};
use zephcast_core::{GroupName, Message, Result, StreamName, Token, UnitId};

use crate::KafkaConfig;
use crate::cluster::Cluster;
use crate::intake::KafkaIntake;
use crate::member::{Handle, Member};
use crate::partition::offset;
use crate::place::Place;
use crate::producer::Producer;
use crate::record::{Notes, Outgoing};

pub(crate) const STREAM: &str = "orders";
/// Its only partition.
pub(crate) const UNIT: UnitId = UnitId(0);
const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: Credit = Credit { messages: 10, bytes: 1024, suspect: false };

/// A member of a simulated cluster, without an engine.
pub(crate) struct Lab {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    pub(crate) producer: Arc<Producer>,
    pub(crate) member: Arc<Handle>,
    intake: KafkaIntake,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::begin(1, |_, config| config)
    }

    /// `prepare`s the cluster, before a member comes of which the group has no place yet but for [`UNIT`].
    pub(crate) fn begin(
        partitions: i32,
        prepare: impl FnOnce(&MockCluster<'static, DefaultProducerContext>, KafkaConfig) -> KafkaConfig,
    ) -> Self {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
        cluster.create_topic(STREAM, partitions, 1).unwrap();
        let config = KafkaConfig::from_url(&format!("kafka://{}", cluster.bootstrap_servers())).unwrap();
        let config = Arc::new(prepare(&cluster, config));
        let producer = Arc::new(Producer::new(&config).unwrap());
        let looking = Arc::new(Cluster::open(config.clone()).unwrap());
        let (stream, group) = (StreamName::new(STREAM).unwrap(), GroupName::new("billing").unwrap());
        let subscription = Subscription::new(stream, group);
        let starts = HashMap::from([(0, Place::at(0))]);
        let member =
            Member::begin(config, looking, producer.clone(), 1, subscription, starts, BTreeSet::new()).unwrap();
        let member = Arc::new(Handle(member));
        let intake = KafkaIntake::new(member.clone());
        Self { cluster, producer, member, intake }
    }

    /// Stores so many, and returns the offset of the last.
    pub(crate) async fn publish(&self, count: usize) -> i64 {
        let mut last = -1;
        for _ in 0..count {
            let outgoing = Outgoing::new(&Message::new("text"), &Notes::default()).unwrap();
            last = self.producer.store(STREAM, Some(0), outgoing).await.unwrap().1;
        }
        last
    }

    pub(crate) async fn fetch(&mut self) -> Result<Fetched> {
        timeout(PATIENCE, self.intake.fetch(ROOM)).await.expect("a fetch in time")
    }

    /// What is delivered up to this offset. Nothing else than the assignment may happen meanwhile.
    pub(crate) async fn consume(&mut self, until: i64) -> Vec<Token> {
        let mut tokens: Vec<Token> = Vec::new();
        while tokens.last().is_none_or(|last| offset(*last) < until) {
            match self.fetch().await.unwrap() {
                Fetched::Batch(batch) => tokens.extend(batch.messages.iter().map(|incoming| incoming.token)),
                Fetched::Assigned(units) => assert!(units.contains(&UNIT), "{units:?}"),
                Fetched::Idle => {}
                other => panic!("{other:?}"),
            }
        }
        tokens
    }

    pub(crate) fn ack(&self, tokens: &[Token]) {
        let late = self.member.assignment().partition(UNIT).unwrap().ack(None, tokens);
        assert!(late.is_empty(), "{late:?}");
    }
}

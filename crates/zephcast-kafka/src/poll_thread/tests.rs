use std::collections::{BTreeSet, HashMap};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::timeout;
use zephcast_core::driver::{Credit, Fetched, Intake, Subscription};
use zephcast_core::{GroupName, Message, StreamName, Token, UnitId};

use super::*;
use crate::KafkaConfig;
use crate::cluster::Cluster;
use crate::intake::KafkaIntake;
use crate::member::Handle;
use crate::partition::offset;
use crate::producer::Producer;
use crate::record::{Notes, Outgoing};

const STREAM: &str = "orders";
/// Its only partition.
const UNIT: UnitId = UnitId(0);
const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: Credit = Credit { messages: 10, bytes: 1024, suspect: false };

/// A member of a simulated cluster, without an engine.
struct Lab {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: Arc<Producer>,
    member: Arc<Member>,
    intake: KafkaIntake,
}

impl Lab {
    fn new() -> Self {
        let cluster: MockCluster<'static, DefaultProducerContext> = MockCluster::new(1).unwrap();
        cluster.create_topic(STREAM, 1, 1).unwrap();
        let config = Arc::new(KafkaConfig::from_url(&format!("kafka://{}", cluster.bootstrap_servers())).unwrap());
        let producer = Arc::new(Producer::new(&config).unwrap());
        let looking = Arc::new(Cluster::open(config.clone()).unwrap());
        let (stream, group) = (StreamName::new(STREAM).unwrap(), GroupName::new("billing").unwrap());
        let subscription = Subscription::new(stream, group);
        let starts = HashMap::from([(0, 0)]);
        let member =
            Member::begin(config, looking, producer.clone(), 1, subscription, starts, BTreeSet::new()).unwrap();
        let intake = KafkaIntake::new(Arc::new(Handle(member.clone())));
        Self { cluster, producer, member, intake }
    }

    /// Stores so many, and returns the offset of the last.
    async fn publish(&self, count: usize) -> i64 {
        let mut last = -1;
        for _ in 0..count {
            let outgoing = Outgoing::new(&Message::new("text"), &Notes::default()).unwrap();
            last = self.producer.store(STREAM, Some(0), outgoing).await.unwrap().1;
        }
        last
    }

    /// What is delivered up to this offset. Nothing else than the assignment may happen meanwhile.
    async fn consume(&mut self, until: i64) -> Vec<Token> {
        let mut tokens: Vec<Token> = Vec::new();
        while tokens.last().is_none_or(|last| offset(*last) < until) {
            match timeout(PATIENCE, self.intake.fetch(ROOM)).await.expect("a fetch in time").unwrap() {
                Fetched::Batch(batch) => tokens.extend(batch.messages.iter().map(|incoming| incoming.token)),
                Fetched::Assigned(units) => assert_eq!(units, [UNIT]),
                Fetched::Idle => {}
                other => panic!("{other:?}"),
            }
        }
        tokens
    }

    fn ack(&self, tokens: &[Token]) {
        let late = self.member.assignment().partition(UNIT).unwrap().ack(None, tokens);
        assert!(late.is_empty(), "{late:?}");
    }
}

/// The library drops its place then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_in_the_log_is_kept_when_a_fetch_of_it_is_refused() {
    let mut lab = Lab::new();
    let (mut next, mut in_flight) = (0, Vec::new());
    for _ in 0..3 {
        let last = lab.publish(50).await;
        let tokens = lab.consume(last).await;
        let offsets: Vec<_> = tokens.iter().map(|token| offset(*token)).collect();
        assert_eq!(offsets, (next..=last).collect::<Vec<_>>(), "each once, in order");
        lab.ack(&std::mem::replace(&mut in_flight, tokens));
        next = last + 1;
        lab.cluster.request_errors(RDKafkaApiKey::Fetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE]);
    }
}

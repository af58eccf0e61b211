//! A Kafka for all cases that run at the same time, and what each case has of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use zephcast::kafka::{GroupProtocol, KafkaConfig};
use zephcast::{Client, Message};
use zephcast_conformance::History;
use zephcast_core::StreamName;
use zephcast_core::driver::StreamSpec;

use super::order::Order;
use super::{COMMIT_INTERVAL, PATIENCE, SHORT_LEASE};

/// Messages of as many keys go to a stream in turn: enough that each partition has some, so that each member has work.
const KEYS: usize = 48;
const BURST: usize = 20;

/// Gone with the last case that has it.
static SERVER: Mutex<Weak<KafkaServer>> = Mutex::const_new(Weak::new());

async fn server() -> Arc<KafkaServer> {
    let mut running = SERVER.lock().await;
    if let Some(server) = running.upgrade() {
        return server;
    }
    let lease = SHORT_LEASE.as_millis().to_string();
    let options = KafkaOptions::default().property("group.consumer.session.timeout.ms", &lease);
    let server = Arc::new(KafkaServer::start(options).await.expect("Kafka starts"));
    *running = Arc::downgrade(&server);
    server
}

pub(crate) struct Lab {
    server: Arc<KafkaServer>,
    protocol: GroupProtocol,
    pub(crate) client: Client,
    pub(crate) stream: String,
    pub(crate) group: String,
    partitions: i32,
    made: AtomicUsize,
    pub(crate) history: Arc<History>,
    pub(crate) order: Arc<Order>,
}

impl Lab {
    /// A stream of so many partitions, and the name of a group, that no other case has.
    pub(crate) async fn new(protocol: GroupProtocol, partitions: u32) -> Self {
        let server = server().await;
        let config = KafkaConfig::from_url(&server.url()).expect("a URL").group_protocol(protocol);
        let client = config.commit_interval(COMMIT_INTERVAL).connect().await.expect("connects");
        let stream = format!("stream-{:016x}", fastrand::u64(..));
        let mut spec = StreamSpec::new(StreamName::new(&stream).expect("a name"));
        spec.partitions = Some(partitions);
        client.admin().create_stream(&spec).await.expect("a stream");
        let history = Arc::new(History::new(stream.clone()));
        let group = format!("group-{:016x}", fastrand::u64(..));
        let partitions = i32::try_from(partitions).expect("few");
        let (made, order) = (AtomicUsize::new(0), Arc::default());
        Self { server, protocol, client, stream, group, partitions, made, history, order }
    }

    /// How a member of another process connects.
    pub(crate) fn url(&self) -> String {
        let protocol = match self.protocol {
            GroupProtocol::Eager => "eager",
            GroupProtocol::Consumer => "consumer",
            _ => "classic",
        };
        format!("{}?group-protocol={protocol}&commit-interval={}", self.server.url(), COMMIT_INTERVAL.as_millis())
    }

    /// The next messages, each with the next key.
    fn messages(&self, count: usize) -> Vec<Message> {
        let keyed = || {
            let key = self.made.fetch_add(1, Ordering::Relaxed) % KEYS;
            let message = self.history.message(100);
            self.order.made(message.payload(), key);
            message.with_key(format!("key-{key}"))
        };
        std::iter::repeat_with(keyed).take(count).collect()
    }

    /// Publishes so many, and notes them.
    pub(crate) async fn publish(&self, count: usize) {
        let publisher = self.client.publisher(&self.stream).await.expect("opens");
        let messages = self.messages(count);
        let payloads: Vec<_> = messages.iter().map(|message| message.payload().clone()).collect();
        let outcomes = publisher.publish_all(messages).await;
        for (payload, outcome) in payloads.iter().zip(&outcomes) {
            outcome.as_ref().expect("a publish to a broker that is well");
            self.history.published(payload, outcome);
        }
    }

    /// Publishes at a steady pace until it is ended.
    pub(crate) fn publishing(self: &Arc<Self>) -> Publishing {
        let lab = self.clone();
        let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(25));
            loop {
                tokio::select! {
                    biased;
                    _ = &mut ended => return,
                    _ = pace.tick() => lab.publish(BURST).await,
                }
            }
        });
        Publishing { end, task }
    }

    /// Waits until everything was delivered and, as a plain program sees it, committed.
    pub(crate) async fn settled(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let lag = self.lag().await;
            if lag == 0 && self.history.is_complete() {
                return;
            }
            let found = self.history.findings();
            assert!(Instant::now() < until, "{lag} messages are not committed after {PATIENCE:?}: {found}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the group has not committed.
    pub(crate) async fn lag(&self) -> i64 {
        let (committed, ends) = tokio::join!(self.committed(), self.ends());
        committed.iter().zip(ends).map(|(committed, end)| end - committed).sum()
    }

    /// The group's offsets, by partition, as the broker tells them to a program that has nothing to do with us.
    pub(crate) async fn committed(&self) -> Vec<i64> {
        self.plainly(|consumer, list| {
            let committed = consumer.committed_offsets(list, PATIENCE).expect("offsets");
            let offset = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            };
            committed.elements().into_iter().map(offset).collect()
        })
        .await
    }

    async fn ends(&self) -> Vec<i64> {
        self.plainly(|consumer, list| {
            let ends = list.elements();
            let end = ends.iter().map(|of| consumer.fetch_watermarks(of.topic(), of.partition(), PATIENCE));
            end.map(|log| log.expect("a log").1).collect()
        })
        .await
    }

    async fn plainly(
        &self,
        ask: impl FnOnce(&BaseConsumer, TopicPartitionList) -> Vec<i64> + Send + 'static,
    ) -> Vec<i64> {
        let (bootstrap, group) = (self.server.bootstrap(Listener::Plain), self.group.clone());
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.stream, 0, self.partitions - 1);
        let asked = tokio::task::spawn_blocking(move || {
            let mut config = ClientConfig::new();
            let consumer: BaseConsumer =
                config.set("bootstrap.servers", bootstrap).set("group.id", group).create().expect("a consumer");
            ask(&consumer, list)
        });
        asked.await.expect("no panic")
    }

    /// What holds of a group of which nobody died.
    pub(crate) fn expect_each_once_in_order(&self) {
        let findings = self.history.findings();
        println!("{:?}: {findings}", self.protocol);
        findings.exactly_once().unwrap_or_else(|broken| panic!("{broken:?}"));
        assert_eq!(self.order.broken(), Vec::<String>::new(), "out of order");
    }
}

pub(crate) struct Publishing {
    end: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Publishing {
    pub(crate) async fn end(self) {
        // One that ended by itself has panicked, which joining it tells.
        let _ = self.end.send(());
        self.task.await.expect("publishing does not panic");
    }
}

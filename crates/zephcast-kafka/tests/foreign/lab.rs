//! A private broker for all cases that run at the same time, and plain programs at it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::Mutex;
use zephcast_core::driver::StreamSpec;
use zephcast_core::{Client, Consumer, Delivery, StreamName};
use zephcast_kafka::{GroupProtocol, KafkaConfig};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const GROUP: &str = "readers";

/// Gone with the last case that has it.
static SERVER: Mutex<Weak<KafkaServer>> = Mutex::const_new(Weak::new());

async fn server() -> Arc<KafkaServer> {
    let mut running = SERVER.lock().await;
    if let Some(server) = running.upgrade() {
        return server;
    }
    let options = KafkaOptions::default().property("log.cleaner.backoff.ms", "200");
    let server = Arc::new(KafkaServer::start(options).await.unwrap());
    *running = Arc::downgrade(&server);
    server
}

/// A stream of one partition, and a client.
pub(crate) struct Lab {
    pub(crate) server: Arc<KafkaServer>,
    pub(crate) client: Client,
    pub(crate) stream: String,
    /// What groups are called here.
    group: String,
}

impl Lab {
    pub(crate) async fn new(settings: &[(&str, &str)]) -> Self {
        Self::with(settings, GroupProtocol::Classic).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)], protocol: GroupProtocol) -> Self {
        let server = server().await;
        let config = KafkaConfig::from_url(&server.url()).unwrap().groups_by_stream(true).group_protocol(protocol);
        let client = config.connect().await.unwrap();
        let stream = format!("foreign-{:016x}", fastrand::u64(..));
        let mut spec = StreamSpec::new(StreamName::new(&stream).unwrap());
        spec.partitions = Some(1);
        spec.settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        client.admin().create_stream(&spec).await.unwrap();
        let group = format!("{stream}:{GROUP}");
        Self { server, client, stream, group }
    }

    pub(crate) async fn join(&self) -> Consumer {
        self.client.consumer(&self.stream).group(GROUP).start().await.unwrap()
    }

    pub(crate) fn plain(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.server.bootstrap(Listener::Plain));
        config
    }

    pub(crate) fn producer(&self) -> FutureProducer {
        self.plain().set("linger.ms", "0").create().unwrap()
    }

    pub(crate) async fn produce(&self, key: &str, payload: &str) {
        let record = FutureRecord::to(&self.stream).key(key).payload(payload);
        self.producer().send(record, PATIENCE).await.unwrap();
    }

    /// Publishes in a transaction, and commits or aborts it.
    pub(crate) async fn transact(&self, payloads: &[&str], commits: bool) {
        let id = format!("transaction-{:016x}", fastrand::u64(..));
        let producer: FutureProducer = self.plain().set("transactional.id", id).create().unwrap();
        let starting = producer.clone();
        tokio::task::spawn_blocking(move || starting.init_transactions(PATIENCE).unwrap()).await.unwrap();
        producer.begin_transaction().unwrap();
        for payload in payloads {
            let record = FutureRecord::<(), _>::to(&self.stream).partition(0).payload(*payload);
            producer.send(record, PATIENCE).await.unwrap();
        }
        let end = move || match commits {
            true => producer.commit_transaction(PATIENCE).unwrap(),
            false => producer.abort_transaction(PATIENCE).unwrap(),
        };
        tokio::task::spawn_blocking(end).await.unwrap();
    }

    /// Deletes everything before this offset.
    pub(crate) async fn delete_records(&self, before: i64) {
        let admin: AdminClient<DefaultClientContext> = self.plain().create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.stream, 0, Offset::Offset(before)).unwrap();
        let deleted = admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
        deleted.elements()[0].error().unwrap();
    }

    /// The group's offset and the log's end, as a plain program sees them.
    pub(crate) async fn committed_and_end(&self) -> (Option<i64>, i64) {
        // Records that are not committed count, too: they may become so.
        let mut config = self.plain();
        config.set("group.id", &self.group).set("isolation.level", "read_uncommitted");
        let stream = self.stream.clone();
        let ask = move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition(&stream, 0);
            let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
            let committed = match committed.elements()[0].offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            (committed, consumer.fetch_watermarks(&stream, 0, PATIENCE).unwrap().1)
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    /// Waits until the group has nothing left, as a plain program sees it and as the client does.
    pub(crate) async fn no_lag(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let (committed, end) = self.committed_and_end().await;
            if committed == Some(end) {
                break;
            }
            assert!(Instant::now() < until, "committed {committed:?}, and the log ends at {end}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let status = self.client.group_status(&self.stream, GROUP).await.unwrap();
        assert_eq!(status.lag, Some(0));
    }
}

pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.next()).await.expect("a delivery in time").unwrap().unwrap()
}

/// The next payloads, acked.
pub(crate) async fn payloads(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut payloads = Vec::new();
    for _ in 0..count {
        let delivery = next(consumer).await;
        payloads.push(delivery.payload_str().unwrap().to_owned());
        delivery.ack().unwrap();
    }
    payloads
}

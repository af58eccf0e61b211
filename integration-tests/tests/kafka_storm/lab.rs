//! Three nodes, each behind a proxy, and who takes part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};
use integration_tests::proxy::Proxy;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::watch;
use zephcast::Client;
use zephcast::kafka::KafkaConfig;
use zephcast_conformance::History;
use zephcast_core::StreamName;
use zephcast_core::driver::StreamSpec;

use super::member::Member;
use super::{GROUP, MESSAGES, PARTITIONS, PATIENCE, STREAM};

const NODES: usize = 3;
const MEMBERS: usize = 3;

pub(crate) struct Lab {
    pub(super) server: KafkaServer,
    pub(super) proxies: Vec<Proxy>,
    pub(super) history: Arc<History>,
    /// Goes through the proxies, as the members do.
    pub(crate) client: Client,
    pub(super) members: Vec<Member>,
    /// How many messages are to be published so far.
    pub(crate) wanted: watch::Sender<u64>,
}

impl Lab {
    pub(crate) async fn start(history: Arc<History>) -> Self {
        let mut proxies = Vec::new();
        for _ in 0..NODES {
            proxies.push(Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))).await.expect("a proxy"));
        }
        let options = KafkaOptions::default().nodes(NODES).proxied(proxies.iter().map(Proxy::addr));
        let server = KafkaServer::start(options).await.expect("Kafka starts");
        for (node, proxy) in proxies.iter().enumerate() {
            proxy.lead_to(server.addr(node, Listener::Proxied));
        }
        let hosts = proxies.iter().map(|proxy| (proxy.addr().ip().to_string(), proxy.addr().port()));
        let config = KafkaConfig::brokers(hosts).request_timeout(Duration::from_secs(3));
        let client = config.connect().await.expect("connects");
        let mut spec = StreamSpec::new(StreamName::new(STREAM).expect("a name"));
        spec.partitions = Some(PARTITIONS);
        client.admin().create_stream(&spec).await.expect("a stream");
        let mut members = Vec::new();
        for _ in 0..MEMBERS {
            members.push(Member::join(&client, history.clone()).await);
        }
        Self { server, proxies, history, client, members, wanted: watch::Sender::new(0) }
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// Lets so many more messages be published than were delivered.
    pub(crate) fn want(&self, more: u64) {
        let delivered = self.history.distinct() as u64;
        self.wanted.send_modify(|wanted| *wanted = (*wanted).max(delivered + more));
    }

    /// Waits until so many more different messages were delivered than are now.
    pub(crate) async fn more(&self, messages: u64) {
        self.want(messages);
        let (wanted, until) = (self.history.distinct() as u64 + messages, Instant::now() + PATIENCE);
        while (self.history.distinct() as u64) < wanted.min(MESSAGES) {
            assert!(Instant::now() < until, "not {messages} more after {PATIENCE:?}: {}", self.history.findings());
            // The history is told by many; it tells nobody.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until everything that was confirmed was delivered, and the broker counts nothing as left.
    pub(crate) async fn settled(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let lag = self.lag().await;
            if self.history.is_complete() && lag.iter().all(|lag| *lag == 0) {
                return;
            }
            assert!(Instant::now() < until, "left over: {lag:?}; {}", self.history.findings());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the group has not committed of each partition, as a plain program sees it past the proxies.
    async fn lag(&self) -> Vec<i64> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.server.bootstrap(Listener::Plain)).set("group.id", GROUP);
        let ask = move || {
            let consumer: BaseConsumer = config.create().expect("a consumer");
            let mut list = TopicPartitionList::new();
            list.add_partition_range(STREAM, 0, PARTITIONS.cast_signed() - 1);
            let committed = consumer.committed_offsets(list, PATIENCE).expect("offsets");
            let lag = |of: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
                let (_, end) = consumer.fetch_watermarks(STREAM, of.partition(), PATIENCE).expect("a log");
                match of.offset() {
                    Offset::Offset(offset) => end - offset,
                    _ => end,
                }
            };
            committed.elements().into_iter().map(lag).collect()
        };
        tokio::task::spawn_blocking(ask).await.expect("no panic")
    }

    pub(crate) async fn end(&mut self) {
        for member in std::mem::take(&mut self.members) {
            let report = member.leave().await;
            assert!(report.clean, "{report:?}");
        }
        self.client.close(Duration::from_secs(5)).await.expect("closes");
    }
}

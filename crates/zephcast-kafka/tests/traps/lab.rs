//! The broker of the cases, and a plain program at it.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use tokio::time::timeout;
use zephcast_core::driver::StreamSpec;
use zephcast_core::{Client, Consumer, ConsumerBuilder, Delivery};
use zephcast_kafka::KafkaConfig;

/// The longest that anything awaited here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Where the broker is.
pub(crate) fn config() -> KafkaConfig {
    let url = std::env::var("ZEPHCAST_TEST_KAFKA_URL").expect("set ZEPHCAST_TEST_KAFKA_URL to a Kafka for tests");
    KafkaConfig::from_url(&url).expect("ZEPHCAST_TEST_KAFKA_URL is a URL of Kafka")
}

/// A client, and a stream and a group of its own.
pub(crate) struct Lab {
    pub(crate) client: Client,
    pub(crate) stream: String,
    pub(crate) group: String,
    partitions: i32,
}

impl Lab {
    pub(crate) async fn new(partitions: u32) -> Self {
        let client = config().connect().await.expect("the broker answers");
        // The beginning of a group's name is that of its members' threads.
        let group = format!("{:06x}-traps-{:08x}", fastrand::u32(..1 << 24), fastrand::u32(..));
        let lab = Self { client, stream: format!("traps-{group}"), group, partitions: partitions.cast_signed() };
        lab.create(&lab.stream).await;
        lab
    }

    /// A topic with as many partitions as the stream.
    pub(crate) async fn create(&self, topic: &str) {
        let mut spec = StreamSpec::new(topic.parse().expect("a name"));
        spec.partitions = Some(self.partitions.cast_unsigned());
        self.client.admin().create_stream(&spec).await.expect("a stream");
    }

    pub(crate) fn member(&self) -> ConsumerBuilder {
        self.client.consumer(&self.stream).group(&self.group)
    }

    pub(crate) async fn join(&self) -> Consumer {
        self.member().start().await.expect("a member")
    }

    /// Stores so many numbered messages in a partition.
    pub(crate) async fn fill(&self, partition: i32, count: usize) {
        let producer: FutureProducer = plain().create().unwrap();
        let payloads: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        let record = |payload| FutureRecord::<(), _>::to(&self.stream).partition(partition).payload(payload);
        let sent = payloads.iter().map(|payload| producer.send_result(record(payload)).unwrap());
        for sent in sent.collect::<Vec<_>>() {
            sent.await.unwrap().unwrap();
        }
    }

    /// Where the group is in each partition, as the broker tells a plain program.
    pub(crate) async fn committed(&self) -> Vec<Offset> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.stream, 0, self.partitions - 1);
        let mut config = plain();
        config.set("group.id", &self.group);
        let ask = move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
            committed.elements().iter().map(TopicPartitionListElem::offset).collect()
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }
}

pub(crate) fn plain() -> ClientConfig {
    let hosts: Vec<_> = config().hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    let mut plain = ClientConfig::new();
    plain.set("bootstrap.servers", hosts.join(","));
    plain
}

pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(PATIENCE, consumer.next()).await.expect("a delivery in time").unwrap().unwrap()
}

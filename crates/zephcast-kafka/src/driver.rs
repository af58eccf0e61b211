//! One connected Kafka.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{Admin, Driver, Membership, Sink, Subscription};
use zephcast_core::{Broker, Capabilities, GroupName, GroupStatus, Order, PositionStyle, Result, Starts, StreamName};

use crate::KafkaConfig;
use crate::admin::KafkaAdmin;
use crate::cluster::Cluster;
use crate::member::Member;
use crate::producer::Producer;
use crate::sink::KafkaSink;
use crate::topics::NAMES;

/// The driver for Kafka: what a client is made of. Applications use it through the client.
pub struct KafkaDriver {
    config: Arc<KafkaConfig>,
    capabilities: Capabilities,
    /// For looking and managing.
    cluster: Arc<Cluster>,
    /// For whatever is published, also by members that move messages.
    producer: Arc<Producer>,
    admin: KafkaAdmin,
}

impl KafkaDriver {
    /// Connects.
    ///
    /// # Errors
    /// At once: [`Auth`](zephcast_core::ErrorKind::Auth) for refused credentials and untrusted TLS,
    /// [`PermissionDenied`](zephcast_core::ErrorKind::PermissionDenied),
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) for settings that cannot be used. After the connect
    /// timeout: [`Unavailable`](zephcast_core::ErrorKind::Unavailable), naming the brokers, with the last cause as its
    /// source.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped attempt closes its connections.
    pub async fn connect(config: KafkaConfig) -> Result<Arc<Self>> {
        config.validate("connect")?;
        config.validate_files("connect")?;
        let config = Arc::new(config);
        // First, so that it is ready by the first message: it asks for its identity as it connects.
        let producer = Arc::new(Producer::new(&config)?);
        let cluster = Arc::new(Cluster::connect(config.clone()).await?);
        let admin = KafkaAdmin::new(cluster.clone(), producer.clone());
        Ok(Arc::new(Self { capabilities: capabilities(&config), config, cluster, producer, admin }))
    }
}

fn capabilities(config: &KafkaConfig) -> Capabilities {
    let mut capabilities = Capabilities::least(Broker::Kafka);
    capabilities.names = NAMES;
    capabilities.positions = PositionStyle::UnitOffset;
    capabilities.order = Order::Unit;
    capabilities.assigns_units = true;
    capabilities.leases = true;
    capabilities.exclusive_names = config.static_membership;
    capabilities.starts = Starts { latest: true, time: true, position: true };
    capabilities.nulls = true;
    capabilities.duplicate_headers = true;
    // All but the zero byte, which is refused.
    capabilities.binary_header_names = true;
    capabilities.max_payload = Some(config.max_message_bytes);
    capabilities.keeps_without_group = true;
    capabilities.browse = true;
    capabilities.seek = true;
    capabilities.partitions = true;
    capabilities.idempotent_publish = false;
    capabilities.durable = true;
    capabilities
}

#[async_trait]
impl Driver for KafkaDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open_sink(&self, stream: &StreamName, create: bool) -> Result<Arc<dyn Sink>> {
        const OPERATION: &str = "open a publisher";
        NAMES.check(stream)?;
        self.cluster.ensure_topic(OPERATION, stream.as_str(), create).await?;
        Ok(Arc::new(KafkaSink::new(self.producer.clone(), stream)))
    }

    async fn join(&self, subscription: Subscription) -> Result<Membership> {
        const OPERATION: &str = "join";
        NAMES.check(&subscription.stream)?;
        let partitions =
            self.cluster.ensure_topic(OPERATION, subscription.stream.as_str(), subscription.create).await?;
        Member::join(self.config.clone(), self.cluster.clone(), self.producer.clone(), partitions, subscription).await
    }

    async fn group_status(&self, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
        NAMES.check(stream)?;
        Box::pin(crate::status::group(&self.cluster, stream, group)).await
    }

    fn admin(&self) -> &dyn Admin {
        &self.admin
    }

    async fn close(&self, deadline: Duration) -> Result<()> {
        self.cluster.close();
        self.producer.close(deadline).await
    }
}

/// Shows where it is connected to.
impl std::fmt::Debug for KafkaDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaDriver").field("config", &self.config).finish_non_exhaustive()
    }
}

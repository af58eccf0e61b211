//! One connected RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{Admin, Driver, Membership, Sink, Subscription};
use zephcast_core::{Broker, Capabilities, Endpoint, GroupName, GroupStatus, Order, PositionStyle, Result, StreamName};

use crate::RabbitConfig;
use crate::admin::RabbitAdmin;
use crate::brokers::Brokers;
use crate::config::Credentials;
use crate::connection::{Connection, first, server};
use crate::dead_letters;
use crate::management::Management;
use crate::member::Member;
use crate::mover::Mover;
use crate::names::NAMES;
use crate::sink::RabbitSink;
use crate::topology;

/// The driver for RabbitMQ: what a client is made of. Applications use it through the client.
pub struct RabbitDriver {
    config: Arc<RabbitConfig>,
    capabilities: Capabilities,
    pub(crate) brokers: Arc<Brokers>,
    admin: RabbitAdmin,
}

impl RabbitDriver {
    /// Connects.
    ///
    /// # Errors
    /// At once: [`Auth`](zephcast_core::ErrorKind::Auth) for refused credentials and untrusted TLS,
    /// [`NotFound`](zephcast_core::ErrorKind::NotFound) for a virtual host that is not there,
    /// [`PermissionDenied`](zephcast_core::ErrorKind::PermissionDenied) for one that the user may not use,
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) for settings that cannot be used. After the connect
    /// timeout: [`Unavailable`](zephcast_core::ErrorKind::Unavailable), naming host and port, with the last cause as its
    /// source.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped attempt closes its connection.
    pub async fn connect(config: RabbitConfig) -> Result<Arc<Self>> {
        config.validate("connect")?;
        let config = Arc::new(config);
        let management = management(&config)?;
        let control = Arc::new(Connection::new(config.clone(), "control"));
        first(&control, config.connect_timeout).await?;
        let publishing = Arc::new(control.another("publisher", config.heartbeat));
        let mover = Arc::new(Mover::new(publishing.clone()));
        let brokers = Arc::new(Brokers { control, publishing, mover, management });
        let admin = RabbitAdmin::new(brokers.clone());
        Ok(Arc::new(Self { config, capabilities: capabilities(), brokers, admin }))
    }
}

/// The management API as it was named, or else where it usually is.
fn management(config: &RabbitConfig) -> Result<Option<Management>> {
    let guessed;
    let endpoints = match (&config.management[..], &config.credentials) {
        ([], Credentials::Password { user, .. }) if !user.is_empty() && config.tls.is_none() => {
            guessed = usual_management(config)?;
            std::slice::from_ref(&guessed)
        }
        // The password of a connection with TLS would go in clear to a server that nobody named.
        ([], _) => return Ok(None),
        (named, _) => named,
    };
    let (vhost, timeout) = (config.vhost.clone(), config.request_timeout);
    Management::new(endpoints, &config.credentials, vhost, config.tls.as_ref(), timeout).map(Some)
}

/// Where each of the hosts usually has it.
fn usual_management(config: &RabbitConfig) -> Result<Endpoint> {
    let mut places: Vec<String> = Vec::new();
    for (host, _) in &config.hosts {
        let place = server(&(host.clone(), RabbitConfig::MANAGEMENT_PORT));
        // Several servers of one machine.
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Endpoint::parse(&format!("http://{}", places.join(",")))
}

fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::least(Broker::RabbitMq);
    capabilities.names = NAMES;
    capabilities.positions = PositionStyle::Tag;
    capabilities.order = Order::SingleMember;
    // `max_payload` is as the server is set, which it says by refusing.
    capabilities.counts_prefetch = true;
    capabilities.dead_letters_at_once = dead_letters::AT_ONCE;
    capabilities.durable = true;
    capabilities
}

#[async_trait]
impl Driver for RabbitDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open_sink(&self, stream: &StreamName, create: bool) -> Result<Arc<dyn Sink>> {
        const OPERATION: &str = "open a publisher";
        NAMES.check(stream)?;
        topology::stream(&self.brokers.control, OPERATION, &self.config, stream, create).await?;
        self.brokers.publishing.link(OPERATION).await?;
        Ok(Arc::new(RabbitSink::new(self.brokers.clone(), stream, create)))
    }

    async fn join(&self, subscription: Subscription) -> Result<Membership> {
        Member::join(self.brokers.clone(), subscription).await
    }

    async fn group_status(&self, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
        Box::pin(crate::status::group(&self.brokers, stream, group)).await
    }

    fn admin(&self) -> &dyn Admin {
        &self.admin
    }

    async fn close(&self, deadline: Duration) -> Result<()> {
        let (control, publishing) =
            tokio::join!(self.brokers.control.close(deadline), self.brokers.publishing.close(deadline));
        control.and(publishing)
    }
}

/// Shows where it is connected to.
impl std::fmt::Debug for RabbitDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitDriver").field("config", &self.config).finish_non_exhaustive()
    }
}

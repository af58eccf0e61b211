//! One connected Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{Admin, Driver, Membership, Sink, Subscription};
use zephcast_core::{
    Broker, Capabilities, ErrorKind, GroupName, GroupStatus, Order, PositionStyle, Result, Starts, StreamName,
};

use crate::RedisConfig;
use crate::admin::RedisAdmin;
use crate::connection::{Connection, first};
use crate::error::{error, missing};
use crate::keys::NAMES;
use crate::member::Member;
use crate::sink::RedisSink;

/// The driver for Redis Streams: what a client is made of. Applications use it through the client.
pub struct RedisDriver {
    config: Arc<RedisConfig>,
    capabilities: Capabilities,
    /// For settling, looking and managing.
    control: Arc<Connection>,
    /// For publishing alone, so that it never waits behind anything else.
    publishing: Arc<Connection>,
    admin: RedisAdmin,
}

impl RedisDriver {
    /// Connects.
    ///
    /// # Errors
    /// At once: [`Auth`](ErrorKind::Auth) for refused credentials and untrusted TLS,
    /// [`PermissionDenied`](ErrorKind::PermissionDenied), [`InvalidInput`](ErrorKind::InvalidInput) for settings that
    /// cannot be used. After the connect timeout: [`Unavailable`](ErrorKind::Unavailable), naming host and port, with the
    /// last cause as its source.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped attempt closes its connection.
    pub async fn connect(config: RedisConfig) -> Result<Arc<Self>> {
        config.validate("connect")?;
        let config = Arc::new(config);
        let control = Arc::new(Connection::new(config.clone()));
        first(&control, config.connect_timeout).await?;
        let publishing = Arc::new(control.another());
        let admin = RedisAdmin::new(control.clone());
        Ok(Arc::new(Self { config, capabilities: capabilities(), control, publishing, admin }))
    }

    /// Whether the stream is there, as far as one may ask.
    ///
    /// # Errors
    /// `WrongType` when its name is that of another kind of key.
    async fn exists(&self, operation: &'static str, stream: &StreamName) -> Result<bool> {
        let name = stream.as_str();
        let answer = self.control.try_call(operation, "TYPE", Some(name), vec![name.into()]).await?;
        let kind = match answer {
            Ok(kind) => crate::reply::text(operation, kind)?,
            // Whoever may not ask finds out by publishing.
            Err(failure) if failure.has_code("NOPERM") => return Ok(true),
            Err(failure) => return Err(failure.into_error(operation)),
        };
        match kind.as_str() {
            "none" => Ok(false),
            "stream" => Ok(true),
            kind => {
                Err(error(ErrorKind::WrongType, operation, format!("the key {stream:?} is a {kind}, not a stream")))
            }
        }
    }
}

fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::least(Broker::Redis);
    capabilities.names = NAMES;
    capabilities.positions = PositionStyle::EntryId;
    capabilities.order = Order::SingleMember;
    capabilities.leases = true;
    capabilities.exclusive_names = true;
    capabilities.starts = Starts { latest: true, time: true, position: true };
    capabilities.duplicate_headers = true;
    capabilities.binary_header_names = true;
    // The server's limit for one string, by default.
    capabilities.max_payload = Some(512 * 1024 * 1024);
    capabilities.keeps_without_group = true;
    capabilities.browse = true;
    capabilities.seek = true;
    capabilities.durable = true;
    capabilities
}

#[async_trait]
impl Driver for RedisDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open_sink(&self, stream: &StreamName, create: bool) -> Result<Arc<dyn Sink>> {
        const OPERATION: &str = "open a publisher";
        NAMES.check(stream)?;
        if !self.exists(OPERATION, stream).await? && !create {
            return Err(missing(OPERATION, stream.as_str()));
        }
        self.publishing.link(OPERATION).await?;
        Ok(Arc::new(RedisSink::new(self.publishing.clone(), stream, create)))
    }

    async fn join(&self, subscription: Subscription) -> Result<Membership> {
        NAMES.check(&subscription.stream)?;
        self.exists("join", &subscription.stream).await?;
        Member::join(self.control.clone(), subscription).await
    }

    async fn group_status(&self, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
        NAMES.check(stream)?;
        Box::pin(crate::status::group(&self.control, stream, group)).await
    }

    fn admin(&self) -> &dyn Admin {
        &self.admin
    }

    async fn close(&self, _deadline: Duration) -> Result<()> {
        self.control.close();
        self.publishing.close();
        Ok(())
    }
}

/// Shows where it is connected to.
impl std::fmt::Debug for RedisDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisDriver").field("config", &self.config).finish_non_exhaustive()
    }
}

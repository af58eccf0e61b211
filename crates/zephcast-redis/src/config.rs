//! Settings of a connection to Redis.

mod env;

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use zephcast_core::{Client, RESERVED_PREFIX, Result, Tls};

use crate::RedisDriver;
use crate::error::invalid;

/// Settings of a connection to Redis, each with a default.
///
/// ```
/// use std::time::Duration;
/// use zephcast_redis::RedisConfig;
///
/// let config = RedisConfig::new("localhost", 6379).database(2).connect_timeout(Duration::from_secs(3));
/// assert_eq!(config.hosts, [("localhost".to_owned(), 6379)]);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisConfig {
    /// Servers: the one to talk to, or the sentinels or cluster nodes to begin with.
    pub hosts: Vec<(String, u16)>,
    /// How the servers are organised. See [`sentinel`](Self::sentinel) and [`cluster`](Self::cluster).
    pub topology: Topology,
    /// See [`user`](Self::user).
    pub user: Option<String>,
    /// See [`password`](Self::password).
    pub password: Option<SecretString>,
    /// See [`sentinel_user`](Self::sentinel_user).
    pub sentinel_user: Option<String>,
    /// See [`sentinel_password`](Self::sentinel_password).
    pub sentinel_password: Option<SecretString>,
    /// See [`database`](Self::database).
    pub database: u8,
    /// See [`tls`](Self::tls).
    pub tls: Option<Tls>,
    /// See [`connect_timeout`](Self::connect_timeout).
    pub connect_timeout: Duration,
    /// See [`command_timeout`](Self::command_timeout).
    pub command_timeout: Duration,
    /// See [`payload_field`](Self::payload_field).
    pub payload_field: String,
}

/// How servers are organised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topology {
    /// One server.
    #[default]
    Single,
    /// Sentinels that know which server is the primary of this name.
    Sentinel {
        /// The name of the primary.
        primary: String,
    },
    /// A Redis Cluster. A stream and its helper keys lie in one slot.
    Cluster,
}

impl RedisConfig {
    /// The port of a server when none is given.
    pub const PORT: u16 = 6379;
    /// The port of a sentinel when none is given.
    pub const SENTINEL_PORT: u16 = 26379;

    /// One server, with the defaults.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            hosts: vec![(host.into(), port)],
            topology: Topology::Single,
            user: None,
            password: None,
            sentinel_user: None,
            sentinel_password: None,
            database: 0,
            tls: None,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
            payload_field: "data".into(),
        }
    }

    /// Sentinels that know which server is the primary of this name.
    #[must_use]
    pub fn sentinel(sentinels: impl IntoIterator<Item = (String, u16)>, primary: impl Into<String>) -> Self {
        let mut config = Self::new("", 0);
        config.hosts = sentinels.into_iter().collect();
        config.topology = Topology::Sentinel { primary: primary.into() };
        config
    }

    /// A Redis Cluster, found by any of these nodes.
    #[must_use]
    pub fn cluster(nodes: impl IntoIterator<Item = (String, u16)>) -> Self {
        let mut config = Self::new("", 0);
        config.hosts = nodes.into_iter().collect();
        config.topology = Topology::Cluster;
        config
    }

    /// Connects, and gives a client.
    ///
    /// # Errors
    /// As [`RedisDriver::connect`].
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped attempt closes its connection.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use zephcast_redis::{ErrorKind, RedisConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// // Nobody listens on port 1, and the error says where it was tried. With a server this is its client.
    /// let config = RedisConfig::new("127.0.0.1", 1).connect_timeout(Duration::from_millis(200));
    /// let error = config.connect().await.expect_err("no server");
    /// assert_eq!(error.kind(), ErrorKind::Unavailable);
    /// assert!(error.to_string().contains("127.0.0.1:1"));
    /// # }
    /// ```
    pub async fn connect(self) -> Result<Client> {
        let driver = RedisDriver::connect(self).await?;
        Ok(Client::new(driver))
    }

    /// The ACL user. Default none: the server's `default` user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The password. Default none. It never appears in a log, an error or `Debug`.
    #[must_use]
    pub fn password(mut self, password: impl Into<SecretString>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The ACL user at the sentinels. Default none.
    #[must_use]
    pub fn sentinel_user(mut self, user: impl Into<String>) -> Self {
        self.sentinel_user = Some(user.into());
        self
    }

    /// The password at the sentinels, which is not that of the servers. Default none.
    #[must_use]
    pub fn sentinel_password(mut self, password: impl Into<SecretString>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// The number of the database. Default 0, which is the only one of a cluster.
    #[must_use]
    pub fn database(mut self, number: u8) -> Self {
        self.database = number;
        self
    }

    /// Talks TLS. Default none: plain text. Needs the cargo feature `tls`, which is on by default.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long the first connection is tried for, and how long each later attempt may take. Default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server may take to answer a command before the connection counts as lost. Default 10 s. A message
    /// whose publish is not answered in this time may be stored. A blocking read waits for as long as it blocks, beside.
    #[must_use]
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// The field of a stream entry that is the payload. Default `data`. Every other field is a header.
    #[must_use]
    pub fn payload_field(mut self, name: impl Into<String>) -> Self {
        self.payload_field = name.into();
        self
    }

    /// Whether these settings can be used together.
    ///
    /// # Errors
    /// `InvalidInput`, saying what is wrong.
    pub(crate) fn validate(&self, operation: &'static str) -> Result<()> {
        let refuse = |why: &str| Err(invalid(operation, why));
        if self.hosts.is_empty() || self.hosts.iter().any(|(host, port)| host.is_empty() || *port == 0) {
            return refuse("each server has a host and a port, and there is at least one");
        }
        match &self.topology {
            Topology::Single if self.hosts.len() > 1 => {
                return refuse("one server has one host; sentinels or a cluster have more");
            }
            Topology::Sentinel { primary } if primary.is_empty() => {
                return refuse("sentinels need the name of their primary");
            }
            Topology::Cluster if self.database > 0 => return refuse("a cluster has database 0 only"),
            Topology::Single | Topology::Sentinel { .. } | Topology::Cluster => {}
        }
        if self.payload_field.is_empty() || self.payload_field.starts_with(RESERVED_PREFIX) {
            return refuse("the payload field has a name that is not empty and not reserved");
        }
        if self.connect_timeout.is_zero() || self.command_timeout.is_zero() {
            return refuse("a timeout is longer than zero");
        }
        Ok(())
    }

    /// Hosts and ports, as errors name them.
    pub(crate) fn servers(&self) -> String {
        let shown = self.hosts.iter().map(|(host, port)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        });
        shown.collect::<Vec<_>>().join(",")
    }
}

/// Shows everything but passwords.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<SecretString>| secret.as_ref().map(|_| "***");
        f.debug_struct("RedisConfig")
            .field("hosts", &self.hosts)
            .field("topology", &self.topology)
            .field("user", &self.user)
            .field("password", &hidden(&self.password))
            .field("sentinel_user", &self.sentinel_user)
            .field("sentinel_password", &hidden(&self.sentinel_password))
            .field("database", &self.database)
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("payload_field", &self.payload_field)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use zephcast_core::ErrorKind;

    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_before_anything_is_sent() {
        let one = || RedisConfig::new("h", 1);
        let nobody: [(String, u16); 0] = [];
        for (config, part) in [
            (one().payload_field("zephcast-attempts"), "payload field"),
            (one().payload_field(""), "payload field"),
            (one().command_timeout(Duration::ZERO), "timeout"),
            (one().connect_timeout(Duration::ZERO), "timeout"),
            (RedisConfig::cluster([("h".to_owned(), 1)]).database(2), "database 0"),
            (RedisConfig::cluster(nobody), "at least one"),
            (RedisConfig::new("", 1), "a host"),
            (RedisConfig::sentinel([("h".to_owned(), 1)], ""), "primary"),
        ] {
            let error = config.validate("connect").expect_err(part);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{part}");
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(one().database(2).validate("connect").is_ok());
    }
}

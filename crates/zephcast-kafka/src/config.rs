//! Settings of a connection to Kafka.

mod env;
mod member;
mod native;
mod property;
mod security;

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use zephcast_core::{Client, Error, ErrorKind, GroupName, Result, StreamName, Tls};

pub(crate) use self::security::TokenProvider;
pub use self::security::{OauthToken, Sasl};
use crate::KafkaDriver;
use crate::error::{error, invalid};

/// Settings of a connection to Kafka, each with a default.
///
/// ```
/// use std::time::Duration;
/// use zephcast_kafka::{KafkaConfig, Tls};
///
/// let config = KafkaConfig::new("localhost", 9093)
///     .user("app")
///     .password("s3cret")
///     .tls(Tls::new().ca("/etc/kafka/ca.pem"))
///     .connect_timeout(Duration::from_secs(3));
/// assert_eq!(config.hosts, [("localhost".to_owned(), 9093)]);
/// assert!(!format!("{config:?}").contains("s3cret"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct KafkaConfig {
    /// Brokers to begin with; the others are found by them.
    pub hosts: Vec<(String, u16)>,
    /// See [`user`](Self::user).
    pub user: Option<String>,
    /// See [`password`](Self::password).
    pub password: Option<SecretString>,
    /// See [`sasl`](Self::sasl).
    pub sasl: Option<Sasl>,
    /// See [`tls`](Self::tls).
    pub tls: Option<Tls>,
    /// See [`connect_timeout`](Self::connect_timeout).
    pub connect_timeout: Duration,
    /// See [`request_timeout`](Self::request_timeout).
    pub request_timeout: Duration,
    /// See [`commit_interval`](Self::commit_interval).
    pub commit_interval: Duration,
    /// See [`max_poll_interval`](Self::max_poll_interval).
    pub max_poll_interval: Duration,
    /// See [`group_protocol`](Self::group_protocol).
    pub group_protocol: GroupProtocol,
    /// See [`out_of_range`](Self::out_of_range).
    pub out_of_range: OutOfRange,
    /// See [`static_membership`](Self::static_membership).
    pub static_membership: bool,
    /// See [`linger`](Self::linger).
    pub linger: Duration,
    /// See [`max_message_bytes`](Self::max_message_bytes).
    pub max_message_bytes: usize,
    /// See [`partitions`](Self::partitions).
    pub partitions: Option<u32>,
    /// See [`groups_by_stream`](Self::groups_by_stream).
    pub groups_by_stream: bool,
    /// Gives tokens, see [`token_provider`](Self::token_provider).
    tokens: Option<TokenProvider>,
    /// Properties of the client library by name, see [`property`](Self::property). Their values may be secrets.
    properties: Vec<(String, SecretString)>,
}

/// How a group agrees on who has which partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// The classic protocol with the assignor `cooperative-sticky`: members keep what does not move.
    #[default]
    Classic,
    /// The classic protocol with the assignors `range` and `roundrobin`: members give everything up at every change.
    Eager,
    /// The protocol of Kafka 4.0 and later, in which the broker decides (KIP-848). How long a silent member keeps its
    /// partitions is then the broker's setting `group.consumer.session.timeout.ms`, or the group's own, and not the
    /// lease.
    Consumer,
}

/// Where a member goes on when its group's place is not in the log: what is there was deleted by retention or by hand, or the
/// topic was made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutOfRange {
    /// At the first record that is there.
    #[default]
    Earliest,
    /// At the end, with what comes from now on.
    Latest,
    /// Nowhere: the member ends with [`NotFound`](ErrorKind::NotFound), and the group stays where it is.
    Fail,
}

impl KafkaConfig {
    /// The port of a broker when none is given.
    pub const PORT: u16 = 9092;

    /// One broker to begin with, and the defaults.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self::brokers([(host.into(), port)])
    }

    /// Several brokers to begin with, and the defaults. One that answers is enough: it names the others.
    #[must_use]
    pub fn brokers(hosts: impl IntoIterator<Item = (String, u16)>) -> Self {
        Self {
            hosts: hosts.into_iter().collect(),
            user: None,
            password: None,
            sasl: None,
            tls: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            commit_interval: Duration::from_millis(200),
            max_poll_interval: Duration::from_secs(300),
            group_protocol: GroupProtocol::Classic,
            out_of_range: OutOfRange::Earliest,
            static_membership: false,
            linger: Duration::from_millis(1),
            max_message_bytes: 1_000_000,
            partitions: None,
            groups_by_stream: false,
            tokens: None,
            properties: Vec::new(),
        }
    }

    /// Connects, and gives a client.
    ///
    /// # Errors
    /// As [`KafkaDriver::connect`].
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped attempt closes its connections.
    ///
    /// # Examples
    /// ```no_run
    /// use zephcast_kafka::KafkaConfig;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_kafka::Result<()> {
    /// let client = KafkaConfig::new("localhost", KafkaConfig::PORT).connect().await?;
    /// client.publisher("orders").await?.publish("two apples").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(self) -> Result<Client> {
        let driver = KafkaDriver::connect(self).await?;
        Ok(Client::new(driver))
    }

    /// The user, who logs in by SASL. Default none. A user has a password.
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

    /// How the user proves who he is. Default SCRAM with SHA-512 when there is a user, tokens when there is a
    /// [provider](Self::token_provider).
    #[must_use]
    pub fn sasl(mut self, sasl: Sasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// Logs in with tokens (OAUTHBEARER) that this closure gives: at the first connection of each client of the library,
    /// and again when four fifths of a token's life are over. By TLS only.
    ///
    /// It is called on a thread that also receives messages: it should answer within seconds, and may block for that
    /// long. When it fails, connecting fails with [`Auth`](ErrorKind::Auth) and the error's text; later it is asked
    /// again after 10 s, while connections that are open go on. The text must carry no secret.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use zephcast_kafka::{KafkaConfig, OauthToken, Tls};
    ///
    /// let config = KafkaConfig::new("localhost", 9093).tls(Tls::new()).token_provider(|| {
    ///     let token = std::env::var("KAFKA_TOKEN")?;
    ///     Ok(OauthToken::new(token, SystemTime::now() + Duration::from_secs(600)).principal("app"))
    /// });
    /// ```
    #[must_use]
    pub fn token_provider<F>(mut self, provider: F) -> Self
    where
        F: Fn() -> Result<OauthToken, Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    {
        self.tokens = Some(TokenProvider::new(provider));
        self
    }

    /// Talks TLS. Default none: plain text. Needs the cargo feature `ssl`, which is on by default.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long the first connection is tried for. Default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a broker may take to answer a request. Default 10 s, at least 10 ms, at most 5 minutes.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How often a member commits what nobody waits for. Default 200 ms: what was settled since the last commit comes
    /// again when the process is killed.
    #[must_use]
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.commit_interval = interval;
        self
    }

    /// How long a member may hold up a rebalance, `max.poll.interval.ms`. Default 5 minutes, and not shorter than a
    /// lease. It bounds the time for which running handlers are waited for before partitions are given up, not the
    /// handlers themselves.
    #[must_use]
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.max_poll_interval = interval;
        self
    }

    /// How the group agrees on who has which partition. Default [`GroupProtocol::Classic`].
    #[must_use]
    pub fn group_protocol(mut self, protocol: GroupProtocol) -> Self {
        self.group_protocol = protocol;
        self
    }

    /// Where a member goes on when its group's place is not in the log any more, or not yet. Default
    /// [`OutOfRange::Earliest`]. Either way it says so, by [`Event::OutOfRange`](zephcast_core::Event::OutOfRange) or as
    /// its end. What waits for another attempt always goes on at the first that is left.
    #[must_use]
    pub fn out_of_range(mut self, policy: OutOfRange) -> Self {
        self.out_of_range = policy;
        self
    }

    /// Whether a member's name is its identity at the broker, `group.instance.id`. Default no. A member that comes back
    /// within its lease under the same name gets its partitions back without a rebalance, and a second one of the name
    /// takes its place; one that leaves keeps its partitions until its lease ends. With
    /// [`GroupProtocol::Consumer`] the broker keeps a name for the member that has it: who comes back under the name of one
    /// that died, or joins beside a living one, waits until that has left or its session is over, 45 s by default at the
    /// broker.
    #[must_use]
    pub fn static_membership(mut self, on: bool) -> Self {
        self.static_membership = on;
        self
    }

    /// Whether a group's id at the broker is `STREAM:GROUP`. Default no: it is the group's name, as other programs have it;
    /// then groups of the same name on several streams are one to the broker, and a member that comes to one of them makes
    /// the members of the others wait for a moment, too.
    #[must_use]
    pub fn groups_by_stream(mut self, on: bool) -> Self {
        self.groups_by_stream = on;
        self
    }

    /// The group's id at the broker.
    pub(crate) fn group_id(&self, stream: &StreamName, group: &GroupName) -> String {
        match self.groups_by_stream {
            true => format!("{stream}:{group}"),
            false => group.as_str().to_owned(),
        }
    }

    /// The group of a stream that has this id; none when no group of the stream can have it.
    pub(crate) fn group_of(&self, stream: &StreamName, id: &str) -> Option<GroupName> {
        let name = match self.groups_by_stream {
            true => id.strip_prefix(stream.as_str())?.strip_prefix(':')?,
            false => id,
        };
        GroupName::new(name).ok()
    }

    /// How many partitions a stream gets that is created without a number, because it is missing or by name. Default none:
    /// as the broker has it, `num.partitions`.
    #[must_use]
    pub fn partitions(mut self, number: u32) -> Self {
        self.partitions = Some(number);
        self
    }

    /// How long a message may wait for others to be sent along with, `linger.ms`. Default 1 ms; 0 for the
    /// lowest latency, 5 ms and more for throughput at the cost of as much latency. At most 15 minutes.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// The largest payload that publishers take, in bytes. Default 1,000,000, with which a message fits in what a broker
    /// takes by default; larger ones need topics with a larger `max.message.bytes`. At most 60,000,000.
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// A property of the client library, librdkafka, by its own name, such as `compression.type` or `client.rack`.
    ///
    /// What this driver relies on cannot be set so, among it all of `security.`, `sasl.`, `group.`, `acks` and commits:
    /// connecting then fails with [`InvalidInput`](ErrorKind::InvalidInput), which says why and what to use instead, as
    /// it does for a name or a value that the library refuses. Values never appear in `Debug`.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        let name = name.into();
        self.properties.retain(|(known, _)| *known != name);
        self.properties.push((name, value.into()));
        self
    }

    /// Whether these settings can be used together.
    ///
    /// # Errors
    /// `InvalidInput`, saying what is wrong, and `Unsupported` for what this build cannot do.
    pub(crate) fn validate(&self, operation: &'static str) -> Result<()> {
        let refuse = |why: &str| Err(invalid(operation, why));
        if self.hosts.is_empty() || self.hosts.iter().any(|(host, port)| host.is_empty() || *port == 0) {
            return refuse("each broker has a host and a port, and there is at least one");
        }
        if self.hosts.iter().any(|(host, _)| host.contains([',', '/', ' '])) {
            return refuse("a host is a name or an address");
        }
        self.validate_security(operation)?;
        if self.connect_timeout.is_zero() {
            return refuse("a timeout is longer than zero");
        }
        if self.partitions == Some(0) {
            return refuse("a stream has one partition at least");
        }
        if !(1..=60_000_000).contains(&self.max_message_bytes) {
            return refuse("the largest payload has from 1 to 60000000 bytes");
        }
        let ranges = [
            ("request timeout", self.request_timeout, 10, 300_000),
            ("commit interval", self.commit_interval, 1, 86_400_000),
            ("max poll interval", self.max_poll_interval, 1, 86_400_000),
            ("linger", self.linger, 0, 900_000),
        ];
        for (what, value, least, most) in ranges {
            if !(least..=most).contains(&value.as_millis()) {
                return refuse(&format!("the {what} is from {least} to {most} ms"));
            }
        }
        self.validate_properties(operation)
    }

    /// Hosts and ports, as errors name them.
    pub(crate) fn servers(&self) -> String {
        let shown = self.hosts.iter().map(|(host, port)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        });
        shown.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn tokens(&self) -> Option<&TokenProvider> {
        self.tokens.as_ref()
    }
}

fn unsupported(operation: &'static str, message: &str) -> Error {
    error(ErrorKind::Unsupported, operation, message)
}

/// Shows everything but the password, and of properties only the names.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("sasl", &self.sasl)
            .field("tokens", &self.tokens)
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("commit_interval", &self.commit_interval)
            .field("max_poll_interval", &self.max_poll_interval)
            .field("group_protocol", &self.group_protocol)
            .field("out_of_range", &self.out_of_range)
            .field("static_membership", &self.static_membership)
            .field("linger", &self.linger)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("partitions", &self.partitions)
            .field("groups_by_stream", &self.groups_by_stream)
            .field("properties", &self.properties.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests;

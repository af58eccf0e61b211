//! Settings of a connection to RabbitMQ.

mod binding;
mod credentials;
mod env;
mod routing;
mod validation;

use std::time::Duration;

use secrecy::SecretString;
use zephcast_core::{Client, Endpoint, GroupName, Result, StreamName, Tls};

pub use self::binding::{Binding, BindingValue};
pub use self::credentials::Credentials;
pub use self::routing::{DeadLetters, Exchange, QueueType, Topology};
use crate::RabbitDriver;
use crate::connection::server;
use crate::names::escaped;

/// Settings of a connection to RabbitMQ, each with a default.
///
/// ```
/// use std::time::Duration;
/// use zephcast_rabbit::RabbitConfig;
///
/// let config = RabbitConfig::new("localhost", 5672).vhost("shop").connect_timeout(Duration::from_secs(3));
/// assert_eq!(config.hosts, [("localhost".to_owned(), 5672)]);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RabbitConfig {
    /// Nodes of the cluster, of which any will do. Each new connection begins with another one.
    pub hosts: Vec<(String, u16)>,
    /// See [`vhost`](Self::vhost).
    pub vhost: String,
    /// See [`user`](Self::user).
    pub credentials: Credentials,
    /// See [`tls`](Self::tls).
    pub tls: Option<Tls>,
    /// See [`management`](Self::management).
    pub management: Vec<Endpoint>,
    /// See [`connect_timeout`](Self::connect_timeout).
    pub connect_timeout: Duration,
    /// See [`request_timeout`](Self::request_timeout).
    pub request_timeout: Duration,
    /// See [`heartbeat`](Self::heartbeat).
    pub heartbeat: Duration,
    /// See [`consumer_timeout`](Self::consumer_timeout).
    pub consumer_timeout: Option<Duration>,
    /// See [`exchange`](Self::exchange).
    pub exchange: Exchange,
    /// See [`alternate_exchange`](Self::alternate_exchange).
    pub alternate_exchange: Option<String>,
    /// See [`bindings`](Self::bindings).
    pub bindings: Vec<Binding>,
    /// See [`queue`](Self::queue).
    pub queue: Option<String>,
    /// See [`queue_type`](Self::queue_type).
    pub queue_type: QueueType,
    /// See [`single_active_consumer`](Self::single_active_consumer).
    pub single_active_consumer: bool,
    /// See [`exclusive_consumer`](Self::exclusive_consumer).
    pub exclusive_consumer: bool,
    /// See [`consumer_priority`](Self::consumer_priority).
    pub consumer_priority: i32,
    /// See [`max_length`](Self::max_length).
    pub max_length: Option<u64>,
    /// See [`message_ttl`](Self::message_ttl).
    pub message_ttl: Option<Duration>,
    /// See [`max_priority`](Self::max_priority).
    pub max_priority: Option<u8>,
    /// See [`dead_letters`](Self::dead_letters).
    pub dead_letters: DeadLetters,
    /// See [`topology`](Self::topology).
    pub topology: Topology,
}

impl RabbitConfig {
    /// The port when none is given.
    pub const PORT: u16 = 5672;
    /// The port of TLS when none is given.
    pub const TLS_PORT: u16 = 5671;
    /// The port of the management API when none is given.
    pub const MANAGEMENT_PORT: u16 = 15672;

    /// One server, with the defaults.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self::nodes([(host.into(), port)])
    }

    /// A cluster, by any of its nodes.
    #[must_use]
    pub fn nodes(nodes: impl IntoIterator<Item = (String, u16)>) -> Self {
        Self {
            hosts: nodes.into_iter().collect(),
            vhost: "/".into(),
            credentials: Credentials::Password { user: "guest".into(), password: "guest".into() },
            tls: None,
            management: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            consumer_timeout: Some(Duration::from_secs(30 * 60)),
            exchange: Exchange::Topic,
            alternate_exchange: None,
            bindings: Vec::new(),
            queue: None,
            queue_type: QueueType::Quorum,
            single_active_consumer: false,
            exclusive_consumer: false,
            consumer_priority: 0,
            max_length: None,
            message_ttl: None,
            max_priority: None,
            dead_letters: DeadLetters::Group,
            topology: Topology::Declare,
        }
    }

    /// Connects, and gives a client.
    ///
    /// # Errors
    /// As [`RabbitDriver::connect`].
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped attempt closes its connection.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use zephcast_rabbit::{ErrorKind, RabbitConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// // Nobody listens on port 1, and the error says where it was tried. With a server this is its client.
    /// let config = RabbitConfig::new("127.0.0.1", 1).connect_timeout(Duration::from_millis(200));
    /// let error = config.connect().await.expect_err("no server");
    /// assert_eq!(error.kind(), ErrorKind::Unavailable);
    /// assert!(error.to_string().contains("127.0.0.1:1"));
    /// # }
    /// ```
    pub async fn connect(self) -> Result<Client> {
        let driver = RabbitDriver::connect(self).await?;
        Ok(Client::new(driver))
    }

    /// The virtual host. Default `/`.
    #[must_use]
    pub fn vhost(mut self, vhost: impl Into<String>) -> Self {
        self.vhost = vhost.into();
        self
    }

    /// The user and the password. Default `guest` and `guest`, whom RabbitMQ lets in from its own machine only. The
    /// password never appears in a log, an error or `Debug`.
    #[must_use]
    pub fn user(self, user: impl Into<String>, password: impl Into<SecretString>) -> Self {
        self.credentials(Credentials::Password { user: user.into(), password: password.into() })
    }

    /// Who logs in, and how. Default the user `guest`.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Talks TLS. Default none: plain text. Needs the cargo feature `tls`, which is on by default.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Where the management API speaks HTTP: `http://host:15672` or `https://user:password@host:15671`; without a user,
    /// that of the connection, unless that is a certificate, which logs nobody in there. A user without a password has an
    /// empty one. Of several, each is asked when those before it cannot be reached, beginning with the one that answered
    /// last. Default: port 15672 of each host is tried. What only it knows, such as how many messages are delivered and
    /// not settled, is `None` where there is none. One that is named here is asked with each look at a group, also when
    /// nothing is missing, so that a wrong one is told.
    #[must_use]
    pub fn management(mut self, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        self.management = endpoints.into_iter().collect();
        self
    }

    /// How long the first connection is tried for, and how long each later attempt may take. Default 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server may take to answer before the connection counts as lost. Default 10 s. Of messages that are on
    /// their way it may confirm one after the other, each in this time after the one before, and after it was written: that
    /// may take as long as it takes, on a slow line, while the line takes something. A message whose publish is not answered
    /// in time may be stored.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// After how much silence a heartbeat is sent; after twice as much without a word a connection counts as lost, on
    /// either side. Whole seconds. Default 10 s. A member's connection has at most half of its lease, so that a dead
    /// member is noticed within the lease.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// How long the server lets a delivery be unsettled (its own `consumer_timeout`), before it closes the channel with
    /// everything on it. Default 30 min, as the server's. A delivery that gets this old but for a tenth, and for a third of the
    /// lease, is given back: it comes again, and what its handler settles then is `LeaseLost`. No lease is longer than that.
    /// `None` where the server has no such limit.
    #[must_use]
    pub fn consumer_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.consumer_timeout = timeout;
        self
    }

    /// What kind of exchange a stream is, where it is created. Default [`Exchange::Topic`]. One that exists is used as it
    /// is.
    #[must_use]
    pub fn exchange(mut self, exchange: Exchange) -> Self {
        self.exchange = exchange;
        self
    }

    /// Where messages go that no group of a stream takes, by an exchange of this name, instead of failing as
    /// `Unroutable`. Default none. An exchange that exists otherwise is a `Conflict`.
    #[must_use]
    pub fn alternate_exchange(mut self, name: impl Into<String>) -> Self {
        self.alternate_exchange = Some(name.into());
        self
    }

    /// Which messages of the stream a group gets. Default: all, by the routing key `#`. Bound whenever a member of this client
    /// joins; what is bound otherwise stays so.
    #[must_use]
    pub fn bindings(mut self, bindings: impl IntoIterator<Item = Binding>) -> Self {
        self.bindings = bindings.into_iter().collect();
        self
    }

    /// The name of the queue from which the members of a group take their messages. Default `STREAM.GROUP`. All groups of
    /// this client share a queue that is named here: competing consumers, also with other programs.
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// What kind of queue a group's is, where it is created. Default [`QueueType::Quorum`].
    #[must_use]
    pub fn queue_type(mut self, kind: QueueType) -> Self {
        self.queue_type = kind;
        self
    }

    /// Gives a group's messages to one member at a time, so that their order holds however many members there are; when it
    /// leaves or dies the next one has them at once. Default no. A queue that exists otherwise is a `Conflict`.
    #[must_use]
    pub fn single_active_consumer(mut self, single: bool) -> Self {
        self.single_active_consumer = single;
        self
    }

    /// Refuses every other consumer while a member of this client has the queue: a second one fails with `Conflict`.
    /// Default no. Only a classic queue knows it, so that a client that creates queues has to create such.
    #[must_use]
    pub fn exclusive_consumer(mut self, exclusive: bool) -> Self {
        self.exclusive_consumer = exclusive;
        self
    }

    /// Members with a higher priority get messages as long as they have room for them. Default 0.
    #[must_use]
    pub fn consumer_priority(mut self, priority: i32) -> Self {
        self.consumer_priority = priority;
        self
    }

    /// The most messages that a group's queue takes; beyond, a publish fails with `Blocked`, and its outcome is unknown
    /// where other groups may have taken it. Default no limit. A queue that exists otherwise is a `Conflict`.
    #[must_use]
    pub fn max_length(mut self, messages: u64) -> Self {
        self.max_length = Some(messages);
        self
    }

    /// After how long a message that no member took goes to the dead letters. Default never. A queue that exists
    /// otherwise is a `Conflict`.
    #[must_use]
    pub fn message_ttl(mut self, ttl: Duration) -> Self {
        self.message_ttl = Some(ttl);
        self
    }

    /// How many priorities (`amqp.priority`) a classic queue knows. Default none. A queue that exists otherwise is a
    /// `Conflict`.
    #[must_use]
    pub fn max_priority(mut self, priorities: u8) -> Self {
        self.max_priority = Some(priorities);
        self
    }

    /// Who takes a message that is given up to the dead letters. Default [`DeadLetters::Group`].
    ///
    /// With [`DeadLetters::Native`] a member joins only once it is certain that the queue has a dead letter exchange that
    /// exists, and a `dead-letter-routing-key` unless that is a fanout exchange: the broker could drop what is rejected
    /// otherwise. The management API says so, unless the queue is as this client would create it. Whether what is rejected
    /// outlives a crash on its way is up to the queue's owner: for a quorum queue `x-dead-letter-strategy` is best
    /// `at-least-once`. What may have killed a member goes there as a copy, with the reason in the header
    /// `zephcast-reason` and without `x-death`. Dead letters cannot be listed or redriven by this client.
    #[must_use]
    pub fn dead_letters(mut self, dead_letters: DeadLetters) -> Self {
        self.dead_letters = dead_letters;
        self
    }

    /// What this client may do about exchanges, queues and bindings. Default [`Topology::Declare`].
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// The queue of a group.
    pub(crate) fn queue_of(&self, stream: &StreamName, group: &GroupName) -> String {
        match (&self.queue, &self.exchange) {
            (Some(queue), _) => queue.clone(),
            (None, Exchange::Default) => self.queue_behind(stream).to_owned(),
            (None, _) => format!("{stream}.{}", escaped(group)),
        }
    }

    /// The queue that a stream is without an exchange.
    pub(crate) fn queue_behind<'a>(&'a self, stream: &'a StreamName) -> &'a str {
        self.queue.as_deref().unwrap_or(stream.as_str())
    }

    /// Hosts and ports, as errors name them.
    pub(crate) fn servers(&self) -> String {
        self.hosts.iter().map(server).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests;

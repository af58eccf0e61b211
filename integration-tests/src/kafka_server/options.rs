//! What a private Kafka is to be.

use std::net::SocketAddr;

use crate::certificates::Certificate;

/// A way in. Each has a port of its own on every node.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Listener {
    /// Neither encrypted nor with a password: always there, and allowed everything.
    Plain,
    /// As plain, but clients are told the addresses of proxies: see [`KafkaOptions::proxied`].
    Proxied,
    /// A name and a password: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512.
    Sasl,
    /// Encrypted.
    Tls,
    /// Encrypted, with a name and a password.
    SaslTls,
}

impl Listener {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAINTEXT",
            Self::Proxied => "PROXIED",
            Self::Sasl => "SASL_PLAINTEXT",
            Self::Tls => "SSL",
            Self::SaslTls => "SASL_SSL",
        }
    }

    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::Plain | Self::Proxied => "PLAINTEXT",
            Self::Sasl | Self::Tls | Self::SaslTls => self.name(),
        }
    }

    pub(super) fn has_password(self) -> bool {
        matches!(self, Self::Sasl | Self::SaslTls)
    }
}

/// How the server is started.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    pub(super) nodes: usize,
    pub(super) listeners: Vec<Listener>,
    pub(super) proxies: Vec<SocketAddr>,
    pub(super) users: Vec<(String, String)>,
    pub(super) certificate: Option<Certificate>,
    pub(super) authorized: bool,
    pub(super) properties: Vec<(String, String)>,
}

impl Default for KafkaOptions {
    /// One node with a plain listener.
    fn default() -> Self {
        Self {
            nodes: 1,
            listeners: vec![Listener::Plain],
            proxies: Vec::new(),
            users: Vec::new(),
            certificate: None,
            authorized: false,
            properties: Vec::new(),
        }
    }
}

impl KafkaOptions {
    /// Sets how many nodes form the cluster. From three on, one may die: topics have three copies by default, of which
    /// two must be in sync.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Adds [`Listener::Proxied`]: who connects there is told these addresses, one for each node in order.
    ///
    /// Start the proxies first, and lead them to where the server then listens.
    pub fn proxied<I: IntoIterator<Item = SocketAddr>>(mut self, proxies: I) -> Self {
        self.proxies = proxies.into_iter().collect();
        self.with(Listener::Proxied)
    }

    /// Adds [`Listener::Sasl`], and a user on all listeners with passwords.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self.with(Listener::Sasl)
    }

    /// Adds [`Listener::Tls`] with this certificate, and [`Listener::SaslTls`]. Clients may show a certificate of the same
    /// authority; the property `ssl.client.auth` set to `required` makes them.
    pub fn certificate(mut self, certificate: &Certificate) -> Self {
        self.certificate = Some(certificate.clone());
        self.with(Listener::Tls).with(Listener::SaslTls)
    }

    /// Asks access control lists: nobody may do anything without one, except on the plain listeners.
    pub fn authorized(mut self) -> Self {
        self.authorized = true;
        self
    }

    /// Sets a property of `server.properties`, also one that this laboratory sets.
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    fn with(mut self, listener: Listener) -> Self {
        if !self.listeners.contains(&listener) {
            self.listeners.push(listener);
        }
        self
    }
}

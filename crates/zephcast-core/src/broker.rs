//! The brokers that zephcast knows by name.

use std::fmt;

/// Which broker a client talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Broker {
    /// Apache Kafka and what speaks its protocol.
    Kafka,
    /// RabbitMQ.
    RabbitMq,
    /// Redis Streams and what speaks its protocol, such as Valkey.
    Redis,
    /// The embedded broker.
    Memory,
    /// A driver of somebody else, by the name it gives itself.
    Other(&'static str),
}

impl Broker {
    /// The name in lower case, as the command line, metrics and errors show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::RabbitMq => "rabbitmq",
            Self::Redis => "redis",
            Self::Memory => "memory",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

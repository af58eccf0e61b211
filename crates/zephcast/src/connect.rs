//! From a URL to a client: the one place that knows every broker by its scheme.

use std::time::Duration;

use zephcast_core::{Client, Endpoint, Error, ErrorKind, Result};

/// How long the first connection may take, unless said otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the broker that the URL names, within 10 seconds.
///
/// | URL | broker | feature |
/// |---|---|---|
/// | `memory://` | a new embedded broker of this process | `memory` |
/// | `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://`; `valkey` is `redis`, `valkeys` is `rediss` | Redis Streams | `redis` |
/// | `kafka://`, `kafka+ssl://` | Kafka | `kafka` |
/// | `amqp://`, `amqps://` | RabbitMQ | `rabbit` |
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for a URL that cannot be read, [`ErrorKind::Unsupported`] for a broker whose feature is
/// off, [`ErrorKind::Auth`] at once when the broker refuses the credentials or TLS finds no trust, and
/// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`], naming host and port, when nobody answers in time. No error
/// carries a secret.
///
/// # Cancel safety
/// Cancel safe: a connection half made is given up.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> zephcast::Result<()> {
/// let client = zephcast::connect("memory://").await?;
/// let publisher = client.publisher("orders").await?;
/// let receipt = publisher.publish("hello").await?;
/// assert!(receipt.position.is_some());
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str) -> Result<Client> {
    connect_with(url, CONNECT_TIMEOUT).await
}

/// As [`connect`], with another limit for the first connection.
///
/// # Errors
/// As [`connect`].
///
/// # Cancel safety
/// As [`connect`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zephcast::{ErrorKind, connect_with};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> zephcast::Result<()> {
/// let client = connect_with("memory://?partitions=4", Duration::from_secs(2)).await?;
/// client.publisher("orders").await?.publish("hello").await?;
/// assert_eq!(client.admin().stream(&"orders".parse()?).await?.units.len(), 4);
///
/// let unknown = connect_with("pigeon://coop", Duration::from_secs(2)).await.expect_err("no such broker");
/// assert_eq!(unknown.kind(), ErrorKind::InvalidInput);
/// # Ok(())
/// # }
/// ```
pub async fn connect_with(url: &str, timeout: Duration) -> Result<Client> {
    let endpoint = Endpoint::parse(url)?;
    match endpoint.scheme() {
        #[cfg(feature = "memory")]
        "memory" => {
            let config = zephcast_memory::MemoryConfig::from_endpoint(&endpoint)?;
            let broker = zephcast_memory::MemoryBroker::with_config(config);
            Ok(Client::new(broker.driver()))
        }
        #[cfg(feature = "redis")]
        scheme if is_redis(scheme) => {
            zephcast_redis::RedisConfig::from_endpoint(&endpoint)?.connect_timeout(timeout).connect().await
        }
        #[cfg(feature = "kafka")]
        scheme if is_kafka(scheme) => {
            zephcast_kafka::KafkaConfig::from_endpoint(&endpoint)?.connect_timeout(timeout).connect().await
        }
        #[cfg(feature = "rabbit")]
        scheme if is_rabbit(scheme) => {
            zephcast_rabbit::RabbitConfig::from_endpoint(&endpoint)?.connect_timeout(timeout).connect().await
        }
        scheme => {
            let _ = timeout;
            Err(unknown(scheme))
        }
    }
}

/// Whether a scheme is Redis's, in plain text or by TLS, of one server or of several.
fn is_redis(scheme: &str) -> bool {
    let (server, several) = scheme.split_once('+').map_or((scheme, None), |(server, kind)| (server, Some(kind)));
    matches!(server, "redis" | "rediss" | "valkey" | "valkeys")
        && matches!(several, None | Some("sentinel" | "cluster"))
}

/// Whether a scheme is Kafka's, in plain text or by TLS.
fn is_kafka(scheme: &str) -> bool {
    matches!(scheme, "kafka" | "kafka+ssl")
}

/// Whether a scheme is RabbitMQ's, in plain text or by TLS.
fn is_rabbit(scheme: &str) -> bool {
    matches!(scheme, "amqp" | "amqps")
}

fn unknown(scheme: &str) -> Error {
    let feature = match scheme {
        "memory" => "memory",
        scheme if is_redis(scheme) => "redis",
        scheme if is_kafka(scheme) => "kafka",
        scheme if is_rabbit(scheme) => "rabbit",
        _ => {
            let text = format!(
                "unknown scheme `{scheme}`; known: memory, redis, rediss, valkey, valkeys, redis+sentinel, \
                 redis+cluster, kafka, kafka+ssl, amqp, amqps"
            );
            return Error::new(ErrorKind::InvalidInput, "connect", text);
        }
    };
    let text = format!("this build has no {feature} driver; turn on zephcast's feature `{feature}`");
    Error::new(ErrorKind::Unsupported, "connect", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str) -> Error {
        connect_with(url, Duration::from_millis(300)).await.expect_err(url)
    }

    #[tokio::test]
    async fn every_scheme_of_redis_is_known() {
        for server in ["redis", "rediss", "valkey", "valkeys"] {
            for kind in ["", "+sentinel", "+cluster"] {
                // The database is read by the driver, before anything is connected.
                let error = refusal(&format!("{server}{kind}://127.0.0.1:1/main/x")).await;
                let unsupported = cfg!(not(feature = "redis"));
                assert_eq!(error.kind() == ErrorKind::Unsupported, unsupported, "{server}{kind}: {error}");
                assert!(!error.to_string().contains("unknown scheme"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn every_scheme_of_kafka_is_known() {
        for scheme in ["kafka", "kafka+ssl"] {
            // The driver reads the path before anything is connected.
            let error = refusal(&format!("{scheme}://127.0.0.1:1/orders")).await;
            assert_eq!(error.kind() == ErrorKind::Unsupported, cfg!(not(feature = "kafka")), "{scheme}: {error}");
            assert!(!error.to_string().contains("unknown scheme"), "{error}");
        }
    }

    #[tokio::test]
    async fn every_scheme_of_rabbitmq_is_known() {
        for scheme in ["amqp", "amqps"] {
            // The driver reads the query before anything is connected.
            let error = refusal(&format!("{scheme}://127.0.0.1:1/?pigeons=2")).await;
            assert_eq!(error.kind() == ErrorKind::Unsupported, cfg!(not(feature = "rabbit")), "{scheme}: {error}");
            assert!(!error.to_string().contains("unknown scheme"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_unknown_is_named() {
        for scheme in ["kafka+tls", "kafkas", "carrier-pigeon", "redis+pigeon", "valkeyss", "memory+cluster"] {
            let error = refusal(&format!("{scheme}://h")).await;
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains(&format!("`{scheme}`")), "{error}");
        }
    }
}

//! Kafka keeps every promise: the conformance suite against a Kafka of its own, behind which a proxy can be cut.
//!
//! `ZEPHCAST_TEST_KAFKA_GROUPS` chooses how members agree on who has what: `cooperative`, which is the default, `eager`,
//! `consumer` for KIP-848, or `static` for members that are known again by their names.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};
use integration_tests::proxy::Proxy;
use tokio::sync::{Mutex, OwnedMutexGuard};
use zephcast_conformance::{Harness, Line, Powers, Suite, Timing};
use zephcast_core::driver::Driver;
use zephcast_core::{Error, ErrorKind, Result};
use zephcast_kafka::{GroupProtocol, KafkaConfig, KafkaDriver};

/// What a member holds outlives its connection, and its units are no other member's.
const SKIPS: [&str; 3] = [
    "D6 what a connection held comes again once it is cut, and its settlements are refused",
    "S1 in flight is bounded by count when something comes back beside what is new",
    "S1 in flight is bounded by count when a retry is due beside what is new",
];
/// Two members of one name are two members, unless membership is static.
const NAMES_ARE_NO_IDENTITY: &str = "M5 of two members with one name the last to join has it";

const GROUPS: &str = "ZEPHCAST_TEST_KAFKA_GROUPS";

fn main() -> ExitCode {
    zephcast_conformance::main(async || {
        let failed = |error| Error::new(ErrorKind::Unavailable, "start Kafka", "there is no Kafka").caused_by(error);
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))).await.map_err(failed)?;
        let groups = std::env::var(GROUPS).unwrap_or_else(|_| "cooperative".to_owned());
        let options = KafkaOptions::default().proxied([proxy.addr()]).user("zephcast", "conformance");
        let server = KafkaServer::start(options).await.map_err(failed)?;
        proxy.lead_to(server.addr(0, Listener::Proxied));
        let names = (groups != "static").then_some(NAMES_ARE_NO_IDENTITY);
        let skips = SKIPS.into_iter().chain(names);
        Ok(Suite::new(Kafka { server, proxy: Arc::new(Mutex::new(proxy)), groups }).expect_skips(skips))
    })
}

struct Kafka {
    server: KafkaServer,
    /// In front of the only address that a broker tells clients of this listener: one line at a time.
    proxy: Arc<Mutex<Proxy>>,
    groups: String,
}

impl Kafka {
    fn config(&self, listener: Listener) -> Result<KafkaConfig> {
        self.with_groups(KafkaConfig::from_url(&format!("kafka://{}", self.server.bootstrap(listener)))?)
    }

    fn with_groups(&self, config: KafkaConfig) -> Result<KafkaConfig> {
        let config = config.partitions(3).groups_by_stream(true);
        Ok(match self.groups.as_str() {
            "cooperative" => config,
            "eager" => config.group_protocol(GroupProtocol::Eager),
            "consumer" => config.group_protocol(GroupProtocol::Consumer),
            "static" => config.static_membership(true),
            other => {
                let text = format!("{GROUPS} is cooperative, eager, consumer or static, not {other:?}");
                return Err(Error::new(ErrorKind::InvalidInput, "start Kafka", text));
            }
        })
    }
}

#[async_trait]
impl Harness for Kafka {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        Ok(KafkaDriver::connect(self.config(Listener::Plain)?).await?)
    }

    fn powers(&self) -> Powers {
        Powers::default().line(true).wrong_credentials(true)
    }

    /// A rebalance takes a heartbeat or two; cases with a line wait for each other. What a cut connection takes is within
    /// a lease: a second since the last heartbeat, up to two until it is told, nearly one until it is made anew. Twenty
    /// static members that leave one by one are each waited for for a lease.
    fn timing(&self) -> Timing {
        Timing::default().lease(Duration::from_secs(4)).patience(Duration::from_secs(120))
    }

    async fn connect_over_line(&self) -> Result<(Arc<dyn Driver>, Arc<dyn Line>)> {
        let proxy = self.proxy.clone().lock_owned().await;
        let address = proxy.addr();
        let config = self.with_groups(KafkaConfig::new(address.ip().to_string(), address.port()))?;
        Ok((KafkaDriver::connect(config).await?, Arc::new(Cable(proxy))))
    }

    async fn connect_with_secret(&self, secret: &str) -> Option<Error> {
        let config = self.config(Listener::Sasl).ok()?.user("zephcast").password(secret.to_owned());
        KafkaDriver::connect(config).await.err()
    }
}

/// The proxy in front of the broker, as long as one client uses it.
struct Cable(OwnedMutexGuard<Proxy>);

#[async_trait]
impl Line for Cable {
    async fn cut(&self) {
        self.0.down().await;
        self.0.reset();
    }

    async fn mend(&self) {
        self.0.up().await.expect("the proxy's port is free again, as nobody else takes it");
    }
}

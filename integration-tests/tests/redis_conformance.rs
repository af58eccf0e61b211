//! Redis keeps every promise: the conformance suite against the server at `ZEPHCAST_TEST_REDIS_URL`.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use integration_tests::proxy::Proxy;
use zephcast_conformance::{Harness, Line, Powers, Suite};
use zephcast_core::driver::Driver;
use zephcast_core::{Error, ErrorKind, Result};
use zephcast_redis::{RedisConfig, RedisDriver};

const URL: &str = "ZEPHCAST_TEST_REDIS_URL";

/// A stream on Redis is one unit, which all members share; what a member holds outlives its connection.
const SKIPS: [&str; 6] = [
    "D6 what a connection held comes again once it is cut, and its settlements are refused",
    "D8 order of a key holds over many members",
    "D8 order of a key holds while members come and go",
    "M1 a member without room gives its units up",
    "M1 a unit is given up only after its running handlers",
    "M2 a member is told which units it gave up",
];

fn main() -> ExitCode {
    zephcast_conformance::main(async || {
        let missing = "it is not set: run `cargo xtask test`, or `cargo xtask brokers up redis` and set what it prints";
        let url = std::env::var(URL).map_err(|_| Error::new(ErrorKind::InvalidInput, URL, missing))?;
        let config = RedisConfig::from_url(&url)?;
        Ok(Suite::new(Redis { config }).expect_skips(SKIPS))
    })
}

struct Redis {
    config: RedisConfig,
}

#[async_trait]
impl Harness for Redis {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        Ok(RedisDriver::connect(self.config.clone()).await?)
    }

    fn powers(&self) -> Powers {
        Powers::default().line(true).wrong_credentials(true)
    }

    async fn connect_over_line(&self) -> Result<(Arc<dyn Driver>, Arc<dyn Line>)> {
        let failed = |error: io::Error| Error::new(ErrorKind::Unavailable, "proxy", "no line to cut").caused_by(error);
        let (host, port) = self.config.hosts[0].clone();
        let mut addresses = tokio::net::lookup_host((host, port)).await.map_err(failed)?;
        let upstream: SocketAddr = addresses.next().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let proxy = Proxy::start(upstream).await.map_err(failed)?;
        let mut config = self.config.clone();
        config.hosts = vec![(proxy.addr().ip().to_string(), proxy.addr().port())];
        Ok((RedisDriver::connect(config).await?, Arc::new(Cable(proxy))))
    }

    async fn connect_with_secret(&self, secret: &str) -> Option<Error> {
        // A server without a password lets its default user in with any; it knows no such user.
        let config = self.config.clone().user("zephcast-conformance-nobody").password(secret.to_owned());
        RedisDriver::connect(config).await.err()
    }
}

/// A proxy in front of the server, for one client.
struct Cable(Proxy);

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

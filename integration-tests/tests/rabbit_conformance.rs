//! RabbitMQ keeps every promise: the conformance suite against the server at `ZEPHCAST_TEST_RABBITMQ_URL`.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use integration_tests::proxy::Proxy;
use zephcast_conformance::{Harness, Line, Powers, Suite};
use zephcast_core::driver::Driver;
use zephcast_core::{Error, ErrorKind, Result};
use zephcast_rabbit::{RabbitConfig, RabbitDriver};

const URL: &str = "ZEPHCAST_TEST_RABBITMQ_URL";

/// A group is one queue, which its members share, and which keeps nothing that was settled. What a member holds is its
/// connection's, and comes again when that ends; a name is no identity. The server says its largest message by refusing, which
/// `rabbit_faults` has tests for.
const SKIPS: [&str; 30] = [
    "D1 a message over the limit is refused at once",
    "D5 a cut connection brings nothing again that is held or settled",
    "D6 a settlement by a member that was stopped too long is refused",
    "D6 a settlement by a member whose lease ended unnoticed is refused",
    "D8 order of a key holds over many members",
    "D8 order of a key holds while members come and go",
    "D10 a new group starts at the earliest message",
    "D10 a new group starts at the latest message if told so",
    "D10 a new group starts at a position if told so",
    "D10 a new group starts at a time if told so",
    "D10 a group that is moved to the earliest message gets everything again",
    "D10 a group that is moved to the latest message skips what was there",
    "D10 a group that is moved to a position goes on there",
    "D10 a group that is moved to a time goes on there",
    "D10 what a group had been given comes once after a move, as on its first way",
    "D10 what a dead member held comes once after a move, as on its first way",
    "D10 what a group had been given is skipped by a move to the latest message",
    "D10 a group that is moved keeps what waits and what is dead",
    "D10 a deleted group is gone, and one of its name begins anew",
    "M1 a member without room gives its units up",
    "M1 a unit is given up only after its running handlers",
    "M2 a member is told which units it gave up",
    "M2 a handler sees that its delivery is no longer its own",
    "M5 of two members with one name the last to join has it",
    "V1 browsing shows every message in order, byte by byte, and goes on with later ones",
    "V1 browsing changes nothing for a group, and needs none",
    "V1 browsing begins at a position if told so",
    "V1 browsing begins at a time if told so",
    "V1 browsing begins at the latest message if told so",
    "V1 browsing a stream that does not exist is not found, by name",
];

fn main() -> ExitCode {
    zephcast_conformance::main(async || {
        let missing =
            "it is not set: run `cargo xtask test`, or `cargo xtask brokers up rabbitmq` and set what it prints";
        let url = std::env::var(URL).map_err(|_| Error::new(ErrorKind::InvalidInput, URL, missing))?;
        let config = RabbitConfig::from_url(&url)?;
        Ok(Suite::new(Rabbit { config }).expect_skips(SKIPS))
    })
}

struct Rabbit {
    config: RabbitConfig,
}

#[async_trait]
impl Harness for Rabbit {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        Ok(RabbitDriver::connect(self.config.clone()).await?)
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
        Ok((RabbitDriver::connect(config).await?, Arc::new(Cable(proxy))))
    }

    async fn connect_with_secret(&self, secret: &str) -> Option<Error> {
        RabbitDriver::connect(self.config.clone().user("guest", secret.to_owned())).await.err()
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

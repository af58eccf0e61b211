//! The brokers, and what is particular to each.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;
use tokio::time::{Instant, sleep, timeout};

use super::native::Site;
use super::{kafka, ports, rabbitmq, redis};
use crate::workspace::Workspace;

/// Several processes that form one cluster on a busy machine take their time.
const START_LIMIT: Duration = Duration::from_secs(120);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
pub(super) const POLL: Duration = Duration::from_millis(50);

/// A server that tests and developers need.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Broker {
    Redis,
    Kafka,
    #[value(name = "rabbitmq")]
    RabbitMq,
}

/// What is particular to a broker, as far as it is data.
pub(super) struct Recipe {
    pub(super) name: &'static str,
    /// How packages, test targets and examples that need it are named.
    pub(super) driver: &'static str,
    /// Where users say which server to use.
    pub(super) url_variable: &'static str,
    pub(super) test_variable: &'static str,
    /// The port that a URL of users means when it names none.
    pub(super) default_port: u16,
    /// The first port to try for a server of ours.
    pub(super) first_port: u16,
    /// Of the ports of each process.
    pub(super) url: fn(&[&[u16]]) -> String,
    pub(super) compose_file: &'static str,
    /// How the compose file is told the ports that are seen outside; the first serves clients.
    pub(super) port_variables: &'static [&'static str],
    /// `None`: only the one version that this system's packages bring.
    pub(super) versions: Option<Versions>,
    /// Whether several processes can form one broker.
    pub(super) clusters: bool,
    /// How many ports a process listens on; the first serves clients.
    pub(super) ports: usize,
    /// Whether a process's command line is that of our server with this port for clients.
    pub(super) recognises: fn(&str, u16) -> bool,
}

/// Of a broker that can be downloaded.
pub(super) struct Versions {
    /// When none is asked for; `None`: what this system's packages bring.
    pub(super) usual: Option<&'static str>,
    /// How the compose file is told it.
    pub(super) variable: &'static str,
}

impl Broker {
    pub(crate) const ALL: &[Self] = &[Self::Redis, Self::Kafka, Self::RabbitMq];

    pub(crate) fn name(self) -> &'static str {
        self.recipe().name
    }

    pub(crate) fn driver(self) -> &'static str {
        self.recipe().driver
    }

    /// How the tests are told where the broker is.
    pub(crate) fn test_variable(self) -> &'static str {
        self.recipe().test_variable
    }

    pub(super) fn recipe(self) -> &'static Recipe {
        match self {
            Self::Redis => &redis::RECIPE,
            Self::Kafka => &kafka::RECIPE,
            Self::RabbitMq => &rabbitmq::RECIPE,
        }
    }

    /// Finds or installs what fault tests need to start servers of their own, and the variables that tell them where
    /// it is.
    pub(crate) async fn equip_tests(self, workspace: &Workspace) -> anyhow::Result<Vec<(&'static str, OsString)>> {
        match self {
            Self::Redis => redis::install().await.map(|_| Vec::new()),
            Self::Kafka => kafka::equip_tests(workspace).await,
            Self::RabbitMq => rabbitmq::install(None, workspace).await.map(|_| Vec::new()),
        }
    }

    /// Finds or installs the native server: its program, or the folder that it is started from.
    pub(super) async fn install(self, version: Option<&str>, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        match self {
            Self::Redis => redis::install().await,
            Self::Kafka => kafka::install(version, workspace).await,
            Self::RabbitMq => rabbitmq::install(version, workspace).await,
        }
    }

    /// Readies a site, and says how each process is started there.
    pub(super) async fn commands(self, site: &Site) -> anyhow::Result<Vec<Command>> {
        match self {
            Self::Redis => Ok(redis::commands(site)),
            Self::Kafka => kafka::commands(site).await,
            Self::RabbitMq => rabbitmq::commands(site),
        }
    }

    /// Ends what a process with these ports started beside itself and left behind, once it is gone itself.
    pub(super) fn end_helpers(self, ports: &[u16]) {
        match self {
            Self::Redis | Self::Kafka => {}
            Self::RabbitMq => rabbitmq::end_helpers(ports),
        }
    }

    pub(super) async fn answers(self, address: SocketAddr) -> bool {
        let asked = async {
            match self {
                Self::Redis => redis::answers(address).await,
                Self::Kafka => kafka::answers(address).await,
                Self::RabbitMq => rabbitmq::answers(address).await,
            }
        };
        matches!(timeout(ANSWER_LIMIT, asked).await, Ok(Ok(true)))
    }

    /// Waits for all processes of a broker, for as long as they are `alive`.
    pub(super) async fn wait_until_it_answers(
        self,
        ports: &[u16],
        mut alive: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        for port in ports {
            while !self.answers(ports::loopback(*port)).await {
                alive()?;
                if Instant::now() > deadline {
                    bail!("{} does not answer on port {port} after {START_LIMIT:?}", self.name());
                }
                sleep(POLL).await;
            }
        }
        Ok(())
    }
}

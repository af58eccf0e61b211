//! Real brokers for development and tests. A broker is found in this order: the URL in its environment variable, the
//! one that `up` started before, Docker Compose where an engine answers, a native server (installed when that is
//! allowed).
//!
//! A new broker is one file beside [`redis`] and a line in each `match` here.

mod compose;
mod native;
mod packages;
mod record;
mod redis;
mod session;

use std::env;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use self::record::{How, Record};
pub(crate) use self::session::{Session, with_brokers};
use crate::process::{Interrupted, interruption};
use crate::table;
use crate::workspace::Workspace;

const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Ports above may belong to outgoing connections of any program.
const PORTS_BELOW: u16 = 32_768;

/// A server that tests and developers need.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Broker {
    Redis,
}

impl Broker {
    pub(crate) const ALL: &[Self] = &[Self::Redis];

    pub(crate) fn name(self) -> &'static str {
        self.recipe().name
    }

    /// How the tests are told where the broker is.
    pub(crate) fn test_variable(self) -> &'static str {
        self.recipe().test_variable
    }

    /// Finds or installs the native server, which fault tests start on their own.
    pub(crate) async fn ensure_program(self) -> anyhow::Result<PathBuf> {
        packages::ensure(self.recipe()).await
    }

    fn recipe(self) -> &'static Recipe {
        match self {
            Self::Redis => &redis::RECIPE,
        }
    }

    async fn answers(self, address: SocketAddr) -> bool {
        let asked = match self {
            Self::Redis => redis::answers(address),
        };
        timeout(Duration::from_secs(2), asked).await.unwrap_or(false)
    }

    async fn wait_until_it_answers(
        self,
        port: u16,
        mut alive: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !self.answers(loopback(port)).await {
            alive()?;
            if Instant::now() > deadline {
                bail!("{} does not answer on port {port} after {START_LIMIT:?}", self.name());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn free_port(self) -> anyhow::Result<u16> {
        (self.recipe().first_port..PORTS_BELOW)
            .find(|port| TcpListener::bind(loopback(*port)).is_ok())
            .context("no free port")
    }
}

/// What is particular to a broker, as far as it is data.
struct Recipe {
    name: &'static str,
    /// Where users say which server to use.
    url_variable: &'static str,
    test_variable: &'static str,
    /// The port that a URL of users means when it names none.
    default_port: u16,
    /// The first port to try for a server of ours.
    first_port: u16,
    url: fn(u16) -> String,
    compose_file: &'static str,
    /// How the compose file is told the port.
    port_variable: &'static str,
    program: &'static str,
    package: &'static str,
    /// What to do where nothing can be installed.
    advice: &'static str,
    arguments: fn(u16, &Path) -> Vec<OsString>,
    /// Whether a process's command line is that of our server on this port.
    recognises: fn(&str, u16) -> bool,
}

/// A broker that answers, and whether this call started it.
struct Found {
    url: String,
    how: String,
    started: bool,
}

/// Starts what does not run yet, empty, and prints a URL a line.
pub(crate) async fn up(brokers: &[Broker]) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::read()?;
    let all_up = async {
        for broker in chosen(brokers) {
            let found = ensure_up(*broker, &workspace).await.with_context(|| broker.name())?;
            eprintln!("{}: {} ({})", broker.name(), if found.started { "started" } else { "already up" }, found.how);
            println!("{}", redacted(&found.url));
        }
        Ok(ExitCode::SUCCESS)
    };
    // Dropped, what is being started ends; what was printed stays.
    tokio::select! {
        up = all_up => up,
        interrupted = interruption() => Err(interrupted.map_or_else(|error| error, Interrupted::into)),
    }
}

/// Stops what [`up`] started; leaves anything else alone.
pub(crate) async fn down(brokers: &[Broker]) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::read()?;
    for broker in chosen(brokers) {
        let said = stop(*broker, &workspace).await.with_context(|| broker.name())?;
        println!("{}: {said}", broker.name());
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what runs where.
pub(crate) async fn status(brokers: &[Broker]) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::read()?;
    let mut rows = Vec::new();
    for broker in chosen(brokers) {
        let row = match (from_environment(*broker), Record::load(*broker, &workspace)?) {
            (Some(url), _) => {
                let state = if reachable(*broker, &url).await.is_ok() { "up" } else { "unreachable" };
                [broker.name(), state, broker.recipe().url_variable, &redacted(&url)].map(str::to_owned)
            }
            (None, Some(record)) => {
                let state = if broker.answers(loopback(record.port)).await { "up" } else { "not answering" };
                [broker.name(), state, &record.how.to_string(), &(broker.recipe().url)(record.port)].map(str::to_owned)
            }
            (None, None) => [broker.name(), "down", "-", "-"].map(str::to_owned),
        };
        rows.push(row);
    }
    print!("{}", table::render(["broker", "state", "how", "url"], &[], &rows));
    Ok(ExitCode::SUCCESS)
}

async fn ensure_up(broker: Broker, workspace: &Workspace) -> anyhow::Result<Found> {
    if let Some(url) = from_environment(broker) {
        reachable(broker, &url).await?;
        return Ok(Found { url, how: format!("{} is set", broker.recipe().url_variable), started: false });
    }
    if let Some(record) = Record::load(broker, workspace)? {
        if broker.answers(loopback(record.port)).await && record.is_ours(broker) {
            return Ok(found(broker, &record, false));
        }
        if record.is_ours(broker) {
            bail!("{} runs and does not answer; `cargo xtask brokers down {}` ends it", record.how, broker.name());
        }
        Record::remove(broker, workspace)?;
    }
    let record = start(broker, workspace).await?;
    Ok(found(broker, &record, true))
}

/// Starts a broker and records it; dropped before, nothing is left behind.
async fn start(broker: Broker, workspace: &Workspace) -> anyhow::Result<Record> {
    if compose::engine_answers().await {
        match compose::start(broker, workspace).await {
            Ok(record) => return Ok(record),
            Err(error) => eprintln!("{}: not by Docker Compose ({error:#}), so natively", broker.name()),
        }
    }
    native::start(broker, workspace).await
}

async fn stop(broker: Broker, workspace: &Workspace) -> anyhow::Result<String> {
    let Some(record) = Record::load(broker, workspace)? else {
        return Ok("nothing to stop".to_owned());
    };
    let said = match record.how {
        How::Compose => {
            compose::stop(broker, workspace).await?;
            format!("stopped ({})", record.how)
        }
        How::Native { .. } if !record.is_ours(broker) => format!("{} is gone already", record.how),
        How::Native { pid } => {
            native::stop(broker, pid, record.port).await?;
            format!("stopped ({})", record.how)
        }
    };
    Record::remove(broker, workspace)?;
    Ok(said)
}

fn found(broker: Broker, record: &Record, started: bool) -> Found {
    Found { url: (broker.recipe().url)(record.port), how: record.how.to_string(), started }
}

fn chosen(brokers: &[Broker]) -> &[Broker] {
    if brokers.is_empty() { Broker::ALL } else { brokers }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn from_environment(broker: Broker) -> Option<String> {
    env::var(broker.recipe().url_variable).ok().filter(|url| !url.is_empty())
}

/// Connects to the first server of a URL; only that, since the URL may ask for TLS or a password.
async fn reachable(broker: Broker, url: &str) -> anyhow::Result<()> {
    let server = first_server(url, broker.recipe().default_port)
        .with_context(|| format!("{} is no URL with a host", redacted(url)))?;
    let connected = timeout(Duration::from_secs(5), TcpStream::connect(&server)).await;
    connected
        .with_context(|| format!("{server}: no answer in 5 s"))?
        .with_context(|| format!("{server}: no server"))?;
    Ok(())
}

fn first_server(url: &str, default_port: u16) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !authority.contains('@') && after.contains('@') {
        // A password that is not written as a URL has it: no part of that is a host.
        return None;
    }
    let host = authority.rsplit('@').next()?.split(',').next().filter(|host| !host.is_empty())?;
    match host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        true => Some(host.to_owned()),
        false => Some(format!("{host}:{default_port}")),
    }
}

/// A URL without its user, its password and its query, which can hold secrets too.
fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "***".to_owned() };
    let (shown, hidden) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    match shown.rsplit_once('@') {
        Some((_, after)) => format!("{scheme}://***@{after}"),
        // The query begins within a password, or has one.
        None if hidden.contains('@') => format!("{scheme}://***"),
        None => format!("{scheme}://{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{first_server, redacted};

    #[test]
    fn the_first_server_of_a_url_is_found() {
        for (url, server) in [
            ("redis://localhost", Some("localhost:6379")),
            ("redis://127.0.0.1:16399/3?x=y", Some("127.0.0.1:16399")),
            ("rediss://user:p%40ss@cache.example:7000", Some("cache.example:7000")),
            ("redis+cluster://a:1,b:2", Some("a:1")),
            ("redis://[::1]:7", Some("[::1]:7")),
            ("redis://", None),
            ("redis://:pass/word@host", None),
            ("localhost:6379", None),
        ] {
            assert_eq!(first_server(url, 6379).as_deref(), server, "{url}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(redacted("rediss://me:canary@host:1/0"), "rediss://***@host:1/0");
        assert_eq!(redacted("redis://host:1"), "redis://host:1");
        assert_eq!(redacted("redis+sentinel://h:1,i/main?sentinel-password=canary"), "redis+sentinel://h:1,i/main");
        for url in [
            "redis://h/0?sentinel-password=x@canary",
            "redis://u:canary@h?tls-key=canary@canary",
            "redis://:canary?canary@h",
            "redis://:canary#canary@h",
            "canary",
        ] {
            assert!(!redacted(url).contains("canary"), "{url}: {}", redacted(url));
        }
    }
}

//! One connection to the server, from its handshake to its end.
//!
//! The client library's own recovery stays off: it sends commands again that were not answered, and it leaves commands
//! waiting without an end. Here a connection that broke is over; [`Connection`](crate::connection::Connection) makes
//! the next one.

use zephcast_core::driver::after;

use std::pin::pin;
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error as FredError, ErrorKind as FredKind};
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ConnectionConfig, Options, PerformanceConfig, Server, ServerConfig, TcpConfig};
use fred::types::{ClusterHash, CustomCommand, Value};
use fred::util::redis_keyslot;
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use socket2::TcpKeepalive;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use crate::RedisConfig;
use crate::config::Topology;
use crate::error::CallFailure;
use crate::reply::Frame;

/// How often the client library is asked whether it has connected.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A connection. Dropping it closes the socket.
pub(crate) struct Link {
    client: Client,
    /// The task that reads and writes the socket. Aborted on drop.
    router: AbortHandle,
    /// Becomes true when that task ended: whatever was sent has its answer, whatever is still queued was never sent.
    over: watch::Receiver<bool>,
    timeout: Duration,
}

impl Link {
    /// Connects, logs in and has a first answer, within the connect timeout.
    pub(crate) async fn open(config: &RedisConfig) -> Result<Self, FredError> {
        let client = Client::new(client_config(config)?, Some(performance()), Some(connection(config)), None);
        let mut router = client.connect();
        let (over_sender, over) = watch::channel(false);
        let link = Self { client, router: router.abort_handle(), over, timeout: config.command_timeout };
        let connected = async {
            tokio::select! {
                biased;
                ended = &mut router => match ended {
                    Ok(Err(error)) => Err(error),
                    _ => Err(FredError::new(FredKind::IO, "the connection ended during its handshake")),
                },
                connected = until_connected(&link.client) => connected,
            }
        };
        let until = after(Instant::now(), config.connect_timeout);
        tokio::time::timeout_at(until, connected).await.map_err(|_| too_late())??;
        // Ends with the router, which ends with the link.
        tokio::spawn(async move {
            let _ = router.await;
            let _ = over_sender.send(true);
        });
        // The client library takes a connection that is closed during the handshake for a good one.
        match link.call_within(until.saturating_duration_since(Instant::now()), "PING", None, Vec::new()).await {
            Err(failure) if !failure.has_code("NOPERM") => Err(failure.into_source()),
            _ => Ok(link),
        }
    }

    /// Whether the connection ended.
    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// The client library's handle, for the one command that is worth its own way.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a command and waits for its answer for as long as the command timeout. On a cluster it goes to the node
    /// that has `key`.
    pub(crate) async fn call(
        &self,
        command: &'static str,
        key: Option<&str>,
        arguments: Vec<Value>,
    ) -> Result<Frame, CallFailure> {
        self.call_within(self.timeout, command, key, arguments).await
    }

    /// The servers behind this connection: one, or the primaries of a cluster.
    pub(crate) fn nodes(&self) -> Vec<Server> {
        self.client.active_connections()
    }

    /// Sends a command to one of [`nodes`](Self::nodes).
    pub(crate) async fn call_node(
        &self,
        node: &Server,
        command: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Frame, CallFailure> {
        let options = Options { cluster_node: self.client.is_clustered().then(|| node.clone()), ..Options::default() };
        let client = self.client.with_options(&options);
        let command = CustomCommand::new_static(command, ClusterHash::Random, false);
        let answer = self.answer_within(self.timeout, client.custom_raw(command, arguments)).await??;
        checked(answer)
    }

    /// As [`call`](Self::call), with a timeout of its own.
    pub(crate) async fn call_within(
        &self,
        timeout: Duration,
        command: &'static str,
        key: Option<&str>,
        arguments: Vec<Value>,
    ) -> Result<Frame, CallFailure> {
        let node = key.map_or(ClusterHash::Random, |key| ClusterHash::Custom(redis_keyslot(key.as_bytes())));
        let command = CustomCommand::new_static(command, node, false);
        let answer = self.client.custom_raw(command, arguments);
        checked(self.answer_within(timeout, answer).await??)
    }

    /// Waits for something of this connection, at most until it is over or the time is up.
    pub(crate) async fn answer_within<T>(
        &self,
        timeout: Duration,
        answer: impl Future<Output = Result<T, FredError>>,
    ) -> Result<Result<T, CallFailure>, CallFailure> {
        // Large, and moved about otherwise.
        answer_before_the_end(self.over.clone(), timeout, Box::pin(answer)).await
    }
}

/// See [`Link::answer_within`].
async fn answer_before_the_end<T>(
    mut over: watch::Receiver<bool>,
    timeout: Duration,
    answer: impl Future<Output = Result<T, FredError>>,
) -> Result<Result<T, CallFailure>, CallFailure> {
    let mut answer = pin!(answer);
    // Without the look at the state in hand, which would lock it while the answer is looked at.
    let ended = async { drop(over.wait_for(|over| *over).await) };
    tokio::select! {
        biased;
        answer = &mut answer => Ok(answer.map_err(classify)),
        // The answer, or word that there is none, may have come just after the look at it and before the end. What has
        // none even now was never sent.
        () = ended => match unconstrained(answer).now_or_never() {
            Some(answer) => Ok(answer.map_err(classify)),
            None => Err(CallFailure::NotSent(FredError::new(FredKind::IO, "Connection closed."))),
        },
        () = tokio::time::sleep(timeout) => Err(CallFailure::NoAnswer(too_late())),
    }
}

/// The client library looks at its state before it listens for a change, so a connection made in between goes unseen:
/// ask again.
async fn until_connected(client: &Client) -> Result<(), FredError> {
    loop {
        if let Ok(connected) = tokio::time::timeout(ASK_AGAIN, client.wait_for_connect()).await {
            return connected;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.router.abort();
    }
}

fn too_late() -> FredError {
    FredError::new(FredKind::Timeout, "no answer in time")
}

/// An answer that is no error.
fn checked(answer: Frame) -> Result<Frame, CallFailure> {
    match answer {
        Frame::SimpleError { data, .. } => Err(refused(&data)),
        Frame::BlobError { data, .. } => Err(refused(&String::from_utf8_lossy(&data))),
        answer => Ok(answer),
    }
}

fn refused(details: &str) -> CallFailure {
    CallFailure::Refused(FredError::new(FredKind::Unknown, details.to_owned()))
}

/// What the client library says when a node of a cluster sent a command elsewhere, since it has one attempt.
const REDIRECTED_FOR_NOTHING: &str = "Too many failed write attempts";

/// Tells what the server refused from what never reached it and from what got lost.
pub(crate) fn classify(source: FredError) -> CallFailure {
    let details = source.details();
    let code = details.split_whitespace().next().unwrap_or_default();
    let from_server = code.len() > 1 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let never_sent = *source.kind() == FredKind::Canceled
        || details.starts_with("Failed to route command")
        || details.starts_with(REDIRECTED_FOR_NOTHING);
    match source.kind() {
        FredKind::IO | FredKind::Timeout | FredKind::Protocol => CallFailure::NoAnswer(source),
        _ if never_sent => CallFailure::NotSent(source),
        _ if from_server => CallFailure::Refused(source),
        _ => CallFailure::NoAnswer(source),
    }
}

/// As [`classify`], of a whole pipeline: when one command of it was redirected for nothing, others may have been done.
pub(crate) fn classify_many(source: FredError) -> CallFailure {
    match classify(source) {
        CallFailure::NotSent(source) if source.details().starts_with(REDIRECTED_FOR_NOTHING) => {
            CallFailure::NoAnswer(source)
        }
        failure => failure,
    }
}

fn client_config(config: &RedisConfig) -> Result<Config, FredError> {
    let servers = || config.hosts.iter().map(|(host, port)| Server::new(host.clone(), *port)).collect::<Vec<_>>();
    let server = match &config.topology {
        Topology::Single => {
            let (host, port) = config.hosts.first().cloned().unwrap_or_default();
            ServerConfig::new_centralized(host, port)
        }
        Topology::Cluster => ServerConfig::Clustered { hosts: servers(), policy: Default::default() },
        Topology::Sentinel { primary } => ServerConfig::Sentinel {
            hosts: servers(),
            service_name: primary.clone(),
            username: config.sentinel_user.clone(),
            password: config.sentinel_password.as_ref().map(|password| password.expose_secret().to_owned()),
        },
    };
    let (username, password) = config.credentials();
    let database = (config.database > 0).then_some(config.database);
    let mut client = Config { server, username, password, database, ..Config::default() };
    set_tls(&mut client, config)?;
    Ok(client)
}

#[cfg(feature = "tls")]
fn set_tls(client: &mut Config, config: &RedisConfig) -> Result<(), FredError> {
    if let Some(tls) = &config.tls {
        client.tls = Some(crate::tls::connector(tls)?);
    }
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn set_tls(_: &mut Config, config: &RedisConfig) -> Result<(), FredError> {
    match config.tls {
        None => Ok(()),
        Some(_) => Err(FredError::new(FredKind::Config, "TLS needs the cargo feature `tls`")),
    }
}

fn performance() -> PerformanceConfig {
    // A publish fills the socket's buffer before it is flushed; every wait has a limit of ours, by batch.
    PerformanceConfig {
        max_feed_count: 10_000,
        default_command_timeout: Duration::ZERO,
        ..PerformanceConfig::default()
    }
}

fn connection(config: &RedisConfig) -> ConnectionConfig {
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));
    ConnectionConfig {
        connection_timeout: config.connect_timeout,
        internal_command_timeout: config.connect_timeout,
        // Never sends a command twice.
        max_command_attempts: 1,
        tcp: TcpConfig { nodelay: Some(true), keepalive: Some(keepalive), ..TcpConfig::default() },
        // Errors of the server are answers; what follows from them is decided by our own translation.
        reconnect_errors: Vec::new(),
        ..ConnectionConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_comes_with_the_end_is_an_answer() {
        let (ended, over) = watch::channel(false);
        let mut looks = 0;
        let answer = std::future::poll_fn(|_| {
            looks += 1;
            // The connection breaks right after the first look.
            ended.send_replace(true);
            if looks > 1 { Poll::Ready(Err::<(), _>(FredError::new(FredKind::IO, "reset"))) } else { Poll::Pending }
        });
        let answer = answer_before_the_end(over, Duration::from_secs(60), answer).await;
        assert!(matches!(answer, Ok(Err(CallFailure::NoAnswer(_)))), "it was sent");
    }

    #[test]
    fn failures_are_told_apart() {
        let is = |kind, details: &'static str| match classify(FredError::new(kind, details)) {
            CallFailure::Refused(_) => "refused",
            CallFailure::NotSent(_) => "not sent",
            CallFailure::NoAnswer(_) => "no answer",
        };
        assert_eq!(is(FredKind::Unknown, "OOM command not allowed"), "refused");
        assert_eq!(is(FredKind::InvalidArgument, "WRONGTYPE Operation"), "refused");
        assert_eq!(is(FredKind::Unknown, "Failed to route command."), "not sent");
        assert_eq!(is(FredKind::Unknown, "Too many failed write attempts."), "not sent");
        assert_eq!(is(FredKind::Canceled, "Canceled."), "not sent");
        assert_eq!(is(FredKind::IO, "Connection closed."), "no answer");
        assert_eq!(is(FredKind::Unknown, "channel closed"), "no answer");
        assert_eq!(is(FredKind::Timeout, "Request timed out."), "no answer");
    }
}

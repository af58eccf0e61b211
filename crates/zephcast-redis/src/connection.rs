//! A connection that is made again when it is needed and the last one broke.
//!
//! It never sleeps and never tries twice on its own: each call tries at most once, and the engine decides when to call
//! again, so that a broker which comes back is not met by a storm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fred::error::Error as FredError;
use fred::types::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use zephcast_core::driver::{LONGEST, after};
use zephcast_core::{Error, ErrorKind, Result};

use crate::RedisConfig;
use crate::config::Topology;
use crate::error::{CallFailure, closed, error, is_auth, translate};
use crate::link::Link;
use crate::probe::wrong_language;
use crate::reply::Frame;
use crate::scripts::Script;

/// One connection after another, shared by whoever uses it.
pub(crate) struct Connection {
    config: Arc<RedisConfig>,
    state: Mutex<State>,
    /// Whether the server let us in before: then a refusal may be about to be mended, and is no reason to give up.
    was_let_in: AtomicBool,
    /// Becomes true when it is closed for good.
    over: watch::Sender<bool>,
    /// Held by the one who connects.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    /// Why the last attempt failed, and when it ended: those who waited for it share its answer.
    failed: Option<(Instant, Error)>,
    closed: bool,
}

impl Connection {
    pub(crate) fn new(config: Arc<RedisConfig>) -> Self {
        Self {
            config,
            state: Mutex::default(),
            was_let_in: AtomicBool::new(false),
            over: watch::channel(false).0,
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    /// One more to where this one leads.
    pub(crate) fn another(&self) -> Self {
        let another = Self::new(self.config.clone());
        another.was_let_in.store(self.was_let_in.load(Ordering::Relaxed), Ordering::Relaxed);
        another
    }

    /// The connection that works, or else a new one: one attempt.
    pub(crate) async fn link(&self, operation: &'static str) -> Result<Arc<Link>> {
        match self.current(operation)? {
            Some(link) => Ok(link),
            // Large, and rarely taken.
            None => Box::pin(self.connect(operation)).await,
        }
    }

    async fn connect(&self, operation: &'static str) -> Result<Arc<Link>> {
        let asked = Instant::now();
        let _turn = self.connecting.lock().await;
        if let Some(link) = self.current(operation)? {
            return Ok(link);
        }
        if let Some((_, error)) = self.state().failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(error.clone());
        }
        match self.open().await {
            Ok(link) => {
                let link = Arc::new(link);
                let mut state = self.state();
                if state.closed {
                    return Err(closed(operation));
                }
                self.was_let_in.store(true, Ordering::Relaxed);
                state.failed = None;
                state.link = Some(link.clone());
                Ok(link)
            }
            Err(source) => {
                let source = match refused_by_sentinel(&self.config).await {
                    Some(refused) => translate("connect to a sentinel", refused),
                    None => translate("connect", source),
                };
                let message = format!("no connection to {}: {}", self.config.servers(), source.message());
                let kind = match source.kind() {
                    ErrorKind::Auth | ErrorKind::PermissionDenied if self.was_let_in.load(Ordering::Relaxed) => {
                        ErrorKind::Unavailable
                    }
                    kind => kind,
                };
                let failed = error(kind, operation, message).caused_by(source);
                self.state().failed = Some((Instant::now(), failed.clone()));
                Err(failed)
            }
        }
    }

    /// One attempt, which does not wait in vain for a server that speaks TLS to one that does not.
    async fn open(&self) -> Result<Link, FredError> {
        /// Whoever has not connected by then may be misunderstood.
        const SUSPICIOUS: Duration = Duration::from_millis(300);
        if self.was_let_in.load(Ordering::Relaxed) {
            return Link::open(&self.config).await;
        }
        let misunderstood = async {
            tokio::time::sleep(SUSPICIOUS).await;
            match wrong_language(&self.config).await {
                Some(wrong) => wrong,
                None => std::future::pending().await,
            }
        };
        let opened = tokio::select! {
            biased;
            opened = Link::open(&self.config) => opened,
            wrong = misunderstood => return Err(wrong),
        };
        match opened {
            // Understood well enough to be refused.
            Err(refused) if self.config.tls.is_none() && is_auth(&refused) => Err(refused),
            Err(error) => Err(wrong_language(&self.config).await.unwrap_or(error)),
            opened => opened,
        }
    }

    fn current(&self, operation: &'static str) -> Result<Option<Arc<Link>>> {
        let mut state = self.state();
        if state.closed {
            return Err(closed(operation));
        }
        if state.link.as_ref().is_some_and(|link| link.is_over()) {
            state.link = None;
        }
        Ok(state.link.clone())
    }

    /// Sends a command and waits for its answer. See [`Link::call`].
    pub(crate) async fn call(
        &self,
        operation: &'static str,
        command: &'static str,
        key: Option<&str>,
        arguments: Vec<Value>,
    ) -> Result<Frame> {
        let answer = self.try_call(operation, command, key, arguments).await?;
        answer.map_err(|failure| failure.into_error(operation))
    }

    /// As [`call`](Self::call), with the failure of the call apart from that of connecting.
    pub(crate) async fn try_call(
        &self,
        operation: &'static str,
        command: &'static str,
        key: Option<&str>,
        arguments: Vec<Value>,
    ) -> Result<Result<Frame, CallFailure>> {
        let link = self.link(operation).await?;
        let answer = link.call(command, key, arguments).await;
        Ok(answer.inspect_err(|failure| self.note(&link, failure)))
    }

    /// Runs a script.
    pub(crate) async fn run(
        &self,
        operation: &'static str,
        script: &Script,
        keys: &[&str],
        arguments: impl Fn() -> Vec<Value>,
    ) -> Result<Frame> {
        let answer = self.try_run(operation, script, keys, arguments).await?;
        answer.map_err(|failure| failure.into_error(operation))
    }

    /// As [`run`](Self::run), with the failure of the script apart from that of connecting.
    pub(crate) async fn try_run(
        &self,
        operation: &'static str,
        script: &Script,
        keys: &[&str],
        arguments: impl Fn() -> Vec<Value>,
    ) -> Result<Result<Frame, CallFailure>> {
        self.try_run_for(1, operation, script, keys, arguments).await
    }

    /// As [`try_run`](Self::try_run), with `patience` times the command timeout.
    pub(crate) async fn try_run_for(
        &self,
        patience: u32,
        operation: &'static str,
        script: &Script,
        keys: &[&str],
        arguments: impl Fn() -> Vec<Value>,
    ) -> Result<Result<Frame, CallFailure>> {
        let link = self.link(operation).await?;
        let timeout = self.config.command_timeout.min(LONGEST) * patience;
        let answer = script.run(&link, timeout, keys, arguments).await;
        Ok(answer.inspect_err(|failure| self.note(&link, failure)))
    }

    /// Gives a connection up when this failure says that it is of no more use.
    pub(crate) fn note(&self, link: &Arc<Link>, failure: &CallFailure) {
        if failure.ends_connection() {
            self.give_up(link);
        }
    }

    /// Gives this connection up, unless another one has its place already.
    pub(crate) fn give_up(&self, link: &Arc<Link>) {
        let mut state = self.state();
        if state.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            state.link = None;
        }
    }

    /// Gives the current connection up.
    pub(crate) fn forget(&self) {
        self.state().link = None;
    }

    /// Closes it for good.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.link = None;
        drop(state);
        self.over.send_replace(true);
    }

    /// Waits until it is closed for good.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as this.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    pub(crate) fn config(&self) -> &Arc<RedisConfig> {
        &self.config
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a sentinel refuses the credentials for sentinels, if one does: the client library only says that none of them
/// could be connected to.
async fn refused_by_sentinel(config: &RedisConfig) -> Option<FredError> {
    /// Enough for an answer; whoever does not answer has not refused.
    const PATIENCE: Duration = Duration::from_secs(1);
    if !matches!(config.topology, Topology::Sentinel { .. }) {
        return None;
    }
    for host in &config.hosts {
        let mut alone = config.clone();
        alone.topology = Topology::Single;
        alone.hosts = vec![host.clone()];
        (alone.user, alone.password) = (config.sentinel_user.clone(), config.sentinel_password.clone());
        alone.database = 0;
        alone.connect_timeout = config.connect_timeout.min(PATIENCE);
        match Link::open(&alone).await {
            Err(refused) if is_auth(&refused) => return Some(refused),
            // This one lets us in, so what failed was something else.
            Ok(_) => return None,
            Err(_) => {}
        }
    }
    None
}

/// Tries to connect until it works or the time is up; at once an error that trying again cannot help.
pub(crate) async fn first(connection: &Connection, timeout: Duration) -> Result<()> {
    let until = after(Instant::now(), timeout);
    let mut longest = Duration::from_millis(100);
    let mut last = None;
    loop {
        match tokio::time::timeout_at(until, connection.link("connect")).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if !error.is_retryable() => return Err(error),
            Ok(Err(error)) => last = Some(error),
            Err(_) => break,
        }
        let pause = longest.mul_f64(fastrand::f64());
        longest = (longest * 2).min(Duration::from_secs(2));
        if tokio::time::timeout_at(until, tokio::time::sleep(pause)).await.is_err() {
            break;
        }
    }
    let servers = connection.config.servers();
    let unreachable = error(
        ErrorKind::Unavailable,
        "connect",
        match &last {
            Some(last) => format!("gave up after {timeout:?}: {}", last.message()),
            None => format!("gave up after {timeout:?}: no answer from {servers}"),
        },
    );
    Err(match last {
        Some(last) => unreachable.caused_by(last),
        None => unreachable,
    })
}

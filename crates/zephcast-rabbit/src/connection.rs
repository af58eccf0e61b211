//! A connection that is made again when it is needed and the last one broke.
//!
//! It never sleeps and never tries twice on its own: each call tries every server at most once, and the engine decides
//! when to call again, so that a broker which comes back is not met by a storm.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::Channel;
use tokio::sync::watch;
use tokio::time::Instant;
use zephcast_core::driver::after;
use zephcast_core::{Error, ErrorKind, Result};

use crate::RabbitConfig;
use crate::blocking::Blocking;
use crate::error::{closed, error, late};
use crate::lane::LARGE;
use crate::link::{CallFailure, Link};

/// One connection after another, shared by whoever uses it.
pub(crate) struct Connection {
    config: Arc<RabbitConfig>,
    /// What the server's administrators see.
    purpose: String,
    heartbeat: Duration,
    state: Mutex<State>,
    /// Whether the server let us in before: then a refusal may be about to be mended, and is no reason to give up.
    was_let_in: AtomicBool,
    /// With which server the next attempt begins.
    next: AtomicUsize,
    /// A message that is larger may be refused.
    message_limit: Arc<AtomicUsize>,
    /// Why the server takes nothing for now, if so.
    blocking: Blocking,
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
    pub(crate) fn new(config: Arc<RabbitConfig>, purpose: impl Into<String>) -> Self {
        Self {
            heartbeat: config.heartbeat,
            next: AtomicUsize::new(fastrand::usize(..config.hosts.len().max(1))),
            config,
            purpose: purpose.into(),
            state: Mutex::default(),
            was_let_in: AtomicBool::new(false),
            message_limit: Arc::new(AtomicUsize::new(LARGE)),
            blocking: Blocking::default(),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    /// One more to where this one leads, with heartbeats no further apart than these.
    pub(crate) fn another(&self, purpose: impl Into<String>, heartbeat: Duration) -> Self {
        let mut another = Self::new(self.config.clone(), purpose);
        another.heartbeat = heartbeat.min(self.heartbeat).max(Duration::from_secs(1));
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

    /// A new channel of the connection, for a call that may cost the channel.
    pub(crate) async fn channel(&self, operation: &'static str) -> Result<(Arc<Link>, Channel)> {
        let link = self.link(operation).await?;
        let channel = link.channel().await.map_err(|failure| self.failed(&link, operation, failure))?;
        Ok((link, channel))
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
            Err((server, source)) => {
                let message = format!("no connection to {server}: {}", source.message());
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

    /// Tries each server once; the first refusal counts, else the last failure, with the server's name.
    async fn open(&self) -> Result<Link, (String, Error)> {
        let hosts = &self.config.hosts;
        let begin = self.next.fetch_add(1, Ordering::Relaxed);
        let mut last = None;
        for host in (0..hosts.len()).map(|n| &hosts[(begin + n) % hosts.len()]) {
            match Link::open(&self.config, host, self.heartbeat, &self.purpose, self.blocking.of_next()).await {
                Ok(link) => return Ok(link),
                Err(error) => {
                    let is_refusal = !error.is_retryable();
                    last = Some((server(host), error));
                    if is_refusal {
                        break;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| (String::new(), closed("connect"))))
    }

    fn current(&self, operation: &'static str) -> Result<Option<Arc<Link>>> {
        let mut state = self.state();
        if state.closed {
            return Err(closed(operation));
        }
        if state.link.as_ref().is_some_and(|link| link.is_over()) {
            state.link = None;
        }
        if let Some(link) = state.link.take_if(|link| link.is_used_up()) {
            link.retire();
        }
        Ok(state.link.clone())
    }

    /// The error of a call on this link, which is given up when the server was silent: a refusal costs the channel only. A
    /// link that is blocked is late with everything and stays.
    pub(crate) fn failed(&self, link: &Arc<Link>, operation: &'static str, failure: CallFailure) -> Error {
        let blocked = link.blocked();
        if matches!(failure, CallFailure::Late) && blocked.is_none() {
            self.give_up(link);
        }
        match (&failure, blocked) {
            (CallFailure::Late, Some(reason)) => blocked_by(operation, &reason),
            _ => failure.into_error(operation),
        }
    }

    /// Gives this connection up, unless another one has its place already.
    pub(crate) fn give_up(&self, link: &Arc<Link>) {
        link.give_up();
        let mut state = self.state();
        if state.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            state.link = None;
        }
    }

    /// Why the server takes nothing for now, if so.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.state().link.as_ref().and_then(|link| link.blocked())
    }

    /// Follows why the server takes nothing for now.
    pub(crate) fn blocking(&self) -> watch::Receiver<Option<String>> {
        self.blocking.follow()
    }

    /// A message that is larger may be refused, for which the server closes the channel.
    pub(crate) fn message_limit(&self) -> &Arc<AtomicUsize> {
        &self.message_limit
    }

    /// Why the last attempt to connect failed, if there is no connection.
    pub(crate) fn trouble(&self, operation: &'static str) -> Option<Error> {
        let state = self.state();
        match state.link.as_ref().filter(|link| !link.is_over()) {
            Some(link) => link.blocked().map(|reason| blocked_by(operation, &reason)),
            None => state.failed.as_ref().map(|(_, error)| error.clone()),
        }
    }

    /// Closes it for good, in good order if there is time. One that does not close in time is broken off.
    ///
    /// # Errors
    /// `Timeout` when it did not close in time.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<()> {
        const OPERATION: &str = "close";
        let link = {
            let mut state = self.state();
            state.closed = true;
            state.link.take()
        };
        let Some(link) = link.filter(|link| !link.is_over()) else { return Ok(()) };
        let closed = tokio::time::timeout(deadline, link.close()).await;
        link.break_off();
        match closed {
            Err(_) | Ok(Err(CallFailure::Late)) => Err(late(OPERATION)),
            // It is closed, whatever the client library has to say of its channels.
            Ok(Ok(()) | Err(CallFailure::Said(_))) => Ok(()),
        }
    }

    pub(crate) fn config(&self) -> &Arc<RabbitConfig> {
        &self.config
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server takes nothing for now.
pub(crate) fn blocked_by(operation: &'static str, reason: &str) -> Error {
    let text = format!("the server takes no messages for now: {reason}; free its memory or disk");
    error(ErrorKind::Blocked, operation, text)
}

/// A host and a port, as a URL has them.
pub(crate) fn server((host, port): &(String, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
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
    let message = match &last {
        Some(last) => format!("gave up after {timeout:?}: {}", last.message()),
        None => format!("gave up after {timeout:?}: no answer from {servers}"),
    };
    let unreachable = error(ErrorKind::Unavailable, "connect", message);
    Err(match last {
        Some(last) => unreachable.caused_by(last),
        None => unreachable,
    })
}

#[cfg(test)]
mod tests;

//! What RabbitMQ's management API says of queues, consumers and nodes, for which AMQP has no question. Only reads.
//!
//! # How old the figures are
//!
//! A quorum queue counts what is ready and unacked every 5 s (`quorum_tick_interval` of the server's settings), and no
//! question makes it count sooner. The usual figures are gathered from that every 5 s again, by the smallest of
//! `management.sample_retention_policies`, whatever `collect_statistics_interval` says, so they are up to 10 s old. The
//! totals of a list are the queues' own: 5 s at most for a quorum queue, and live for a classic one. So both are asked
//! for, and these two counts are the totals'. A passive declaration by AMQP tells what is ready now, and nothing of what
//! is unacked.

mod answer;
mod consumers;
mod figures;
#[cfg(test)]
mod hostile;
mod lenient;
mod link;
mod login;
mod moment;
mod path;
mod requests;
#[cfg(test)]
mod samples;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use zephcast_core::{Endpoint, ErrorKind, Result, Tls};

use self::figures::{AlarmCheck, AnyBinding, ExchangeRoutes, Overview, QUEUE_COLUMNS};
use self::path::{beginning_with, escaped, exactly};
use self::requests::Requests;
use self::server::Server;
use crate::config::Credentials;
use crate::error::{NO_VHOST, error, invalid};

pub(crate) use self::answer::NOT_THERE;
pub(crate) use self::consumers::ConsumerFigures;
pub(crate) use self::figures::{Alarm, AlarmKind, Binding, ExchangeFigures, Permissions, QueueFigures};

/// For the queues' own counts, and nothing that is gathered from them.
const TOTALS: &str = "disable_stats=true&enable_queue_totals=true";

/// A client of the management API.
///
/// It has one connection, which it keeps as long as it is good, and no task: dropped, it is gone. Questions that are
/// asked at the same time do not wait for each other; all but one of their connections are closed afterwards.
///
/// # Errors
/// Of every question: `Unavailable` if nobody can be reached, `Timeout` if the answer to one request is late, by the last
/// server that was tried; `Auth` for credentials or a certificate that are not good, `PermissionDenied` for a user without
/// the tag that it needs, and `Broker` for what is no management API or answers what cannot be understood.
///
/// # Cancel safety
/// Every question can be given up at any time; its connection is closed then.
pub(crate) struct Management {
    requests: Requests,
    vhost: String,
    /// Whether the server has totals of one queue, as 3.10 does not.
    has_single_totals: AtomicBool,
}

impl Management {
    /// Credentials in an endpoint win over those given, and so do TLS files. A path in it stands before `/api`; without
    /// a port it means 80 or 443. Each host of each is asked in turn when those before it cannot be reached.
    ///
    /// # Errors
    /// `InvalidInput` for no endpoint, another scheme than `http` or `https`, an unknown key, files that cannot be used.
    pub(crate) fn new(
        endpoints: &[Endpoint],
        credentials: &Credentials,
        vhost: String,
        tls: Option<&Tls>,
        timeout: Duration,
    ) -> Result<Self> {
        let servers = endpoints.iter().map(|endpoint| Server::all(endpoint, credentials, tls));
        let servers = servers.collect::<Result<Vec<_>>>()?.concat();
        if servers.is_empty() {
            return Err(invalid("read management URL", "there is none"));
        }
        let requests = Requests::new(servers, timeout);
        Ok(Self { requests, vhost, has_single_totals: AtomicBool::new(true) })
    }

    /// A queue, or `None` if there is none of this name.
    pub(crate) async fn queue(&self, operation: &'static str, name: &str) -> Result<Option<QueueFigures>> {
        let Some(mut queue) = self.gathered(operation, name).await? else { return Ok(None) };
        if let Some(fresher) = self.single_totals(operation, &self.place("queues", name), name).await? {
            queue.refresh(&fresher);
        }
        Ok(Some(queue))
    }

    /// A queue by the usual figures alone, which are older and one request.
    pub(crate) async fn gathered(&self, operation: &'static str, name: &str) -> Result<Option<QueueFigures>> {
        let path = format!("{}?columns={QUEUE_COLUMNS}", self.place("queues", name));
        self.requests.read(operation, &path).await
    }

    /// The names of all queues that begin so, in order. A queue that comes or goes meanwhile may be missed.
    pub(crate) async fn queues(&self, operation: &'static str, prefix: &str) -> Result<Vec<String>> {
        let query = format!("name={}&use_regex=true&columns=name", beginning_with(prefix));
        let alike: Vec<QueueFigures> = self.list(operation, "queues", &query).await?;
        // The expression does not tell upper case from lower.
        let names = alike.into_iter().map(|queue| queue.name).filter(|name| name.starts_with(prefix));
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// How many messages queues that begin so have given up, as when their time was over, and keep until they are where they
    /// go. They are neither ready nor with a consumer, and no question of AMQP tells of them.
    pub(crate) async fn leaving(&self, operation: &'static str, prefix: &str) -> Result<u64> {
        let query = format!("name={}&use_regex=true&{TOTALS}", beginning_with(prefix));
        let alike: Vec<QueueFigures> = self.list(operation, "queues", &query).await?;
        Ok(alike.iter().filter(|queue| queue.name.starts_with(prefix)).map(QueueFigures::leaving).sum())
    }

    /// By what a queue is bound to an exchange; nothing if one of them does not exist.
    pub(crate) async fn bindings_of(
        &self,
        operation: &'static str,
        exchange: &str,
        queue: &str,
    ) -> Result<Vec<Binding>> {
        let [vhost, exchange, queue] = [&self.vhost, exchange, queue].map(escaped);
        let place = format!("/bindings/{vhost}/e/{exchange}/q/{queue}");
        let all: Option<Vec<AnyBinding>> = self.requests.read(operation, &place).await?;
        Ok(all.unwrap_or_default().into_iter().filter_map(AnyBinding::of_queue).collect())
    }

    /// The consumers of a queue; none if it does not exist. A channel that is not known yet, or that the user may not see,
    /// leaves its figures out.
    pub(crate) async fn consumers(&self, operation: &'static str, queue: &str) -> Result<Vec<ConsumerFigures>> {
        consumers::of_queue(&self.requests, operation, &self.place("queues", queue)).await
    }

    /// The exchanges of the virtual host.
    pub(crate) async fn exchanges(&self, operation: &'static str) -> Result<Vec<ExchangeFigures>> {
        self.list(operation, "exchanges", "columns=name,type,durable").await
    }

    /// The queues bound to an exchange; none if it does not exist. One bound twice is there twice.
    pub(crate) async fn bindings(&self, operation: &'static str, exchange: &str) -> Result<Vec<Binding>> {
        let place = self.place("exchanges", exchange);
        let all: Option<Vec<AnyBinding>> = self.requests.read(operation, &format!("{place}/bindings/source")).await?;
        Ok(all.unwrap_or_default().into_iter().filter_map(AnyBinding::of_queue).collect())
    }

    /// Whether what a queue refuses of an exchange is nowhere: it is the only one that is bound, and refuses for good, no exchange
    /// is bound, and there is no alternate one, which a policy may have named.
    pub(crate) async fn exchange_refuses_for_good(&self, operation: &'static str, exchange: &str) -> Result<bool> {
        let place = self.place("exchanges", exchange);
        let Some(itself) = self.requests.read::<ExchangeRoutes>(operation, &place).await? else { return Ok(false) };
        let all: Option<Vec<AnyBinding>> = self.requests.read(operation, &format!("{place}/bindings/source")).await?;
        let all = all.unwrap_or_default();
        let queues: BTreeSet<_> = all.iter().filter_map(AnyBinding::queue).collect();
        let are_all_queues = all.iter().all(|binding| binding.queue().is_some());
        if !are_all_queues || queues.len() > 1 || itself.may_have_alternate() {
            return Ok(false);
        }
        match queues.first() {
            Some(queue) => self.queue_refuses_for_good(operation, queue).await,
            None => Ok(false),
        }
    }

    /// Whether what a queue refuses is nowhere: not among its dead letters, and not in the queue itself.
    ///
    /// There it may be in a classic queue, for which the server also refuses what was on its way to a node that is lost
    /// (`rabbit_classic_queue:handle_event`). A quorum queue refuses before anything is sent (`rabbit_fifo_client:enqueue`).
    pub(crate) async fn queue_refuses_for_good(&self, operation: &'static str, queue: &str) -> Result<bool> {
        let Some(queue) = self.gathered(operation, queue).await? else { return Ok(false) };
        let is_quorum = queue.arguments.get("x-queue-type").and_then(Value::as_str) == Some("quorum");
        Ok(is_quorum && queue.told("overflow") != Some("reject-publish-dlx"))
    }

    /// The server's version, such as `3.10.8`.
    pub(crate) async fn version(&self, operation: &'static str) -> Result<String> {
        let overview: Overview = self.requests.read_some(operation, "/overview?columns=rabbitmq_version").await?;
        Ok(overview.rabbitmq_version)
    }

    /// Which nodes have too little memory or disk, now. Figures of the nodes tell it only seconds later.
    pub(crate) async fn alarms(&self, operation: &'static str) -> Result<Vec<Alarm>> {
        let check: AlarmCheck = self.requests.read_some(operation, "/health/checks/alarms").await?;
        Ok(check.alarms)
    }

    /// What the user may touch in the virtual host. `None` if it may not ask, which only an administrator may, or if
    /// permissions are not kept by RabbitMQ itself.
    pub(crate) async fn permissions(&self, operation: &'static str) -> Result<Option<Permissions>> {
        let user = escaped(&self.requests.server().login(operation)?.user);
        match self.requests.read(operation, &format!("/permissions/{}/{user}", escaped(&self.vhost))).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
            told => told,
        }
    }

    async fn single_totals(&self, operation: &'static str, place: &str, name: &str) -> Result<Option<QueueFigures>> {
        if self.has_single_totals.load(Ordering::Relaxed) {
            let totals: Option<QueueFigures> = self.requests.read(operation, &format!("{place}?{TOTALS}")).await?;
            if totals.as_ref().is_none_or(|queue| queue.ready.is_some()) {
                return Ok(totals);
            }
            self.has_single_totals.store(false, Ordering::Relaxed);
        }
        let filter = format!("name={}&use_regex=true&{TOTALS}", exactly(name));
        let alike: Vec<QueueFigures> = self.list(operation, "queues", &filter).await?;
        Ok(alike.into_iter().find(|queue| queue.name == name))
    }

    async fn list<T: DeserializeOwned>(&self, operation: &'static str, what: &str, query: &str) -> Result<Vec<T>> {
        let listed = self.requests.list(operation, &format!("/{what}/{}", escaped(&self.vhost)), query).await?;
        listed.ok_or_else(|| {
            let message = format!("the virtual host {:?} does not exist", self.vhost);
            error(ErrorKind::NotFound, operation, message).advise(NO_VHOST)
        })
    }

    /// The path of a thing in the virtual host.
    fn place(&self, what: &str, name: &str) -> String {
        format!("/{what}/{}/{}", escaped(&self.vhost), escaped(name))
    }
}

/// Hosts and ports.
impl fmt::Display for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.requests.fmt(f)
    }
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.requests.to_string();
        f.debug_struct("Management").field("server", &server).field("vhost", &self.vhost).finish_non_exhaustive()
    }
}

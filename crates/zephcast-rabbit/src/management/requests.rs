//! Questions one after the other, over a connection that is kept.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use serde::de::DeserializeOwned;
use zephcast_core::{ErrorKind, Result};

use super::answer::{Answer, NOT_THERE, foreign, unanswered};
use super::figures::Page;
use super::link::Link;
use super::server::Server;
use crate::error::error;

/// The most that the API gives at once.
const PAGE_SIZE: usize = 500;

/// A server that says that there are more pages is not believed for ever: it has a million things at most.
const MOST_PAGES: usize = 2_000;

/// More than the names of a million queues.
const MOST_BYTES: usize = 128 * 1024 * 1024;

pub(super) struct Requests {
    /// One at least.
    servers: Vec<Server>,
    /// The place of the one that answered last, which is asked first.
    current: AtomicUsize,
    /// Of one request to one server.
    timeout: Duration,
    /// With the place of its server. Taken by who asks, and put back after a whole answer.
    link: Mutex<Option<(usize, Link)>>,
    /// Whether the API was there once, so that what is not found is missing and not asked for at the wrong place.
    is_found: AtomicBool,
}

impl Requests {
    pub(super) fn new(servers: Vec<Server>, timeout: Duration) -> Self {
        let (current, link) = (AtomicUsize::new(0), Mutex::default());
        Self { servers, current, timeout, link, is_found: AtomicBool::new(false) }
    }

    /// The one that is asked first.
    pub(super) fn server(&self) -> &Server {
        &self.servers[self.current.load(Ordering::Relaxed)]
    }

    /// What every management API has.
    pub(super) async fn read_some<T: DeserializeOwned>(&self, operation: &'static str, path: &str) -> Result<T> {
        self.read(operation, path).await?.ok_or_else(|| foreign(operation, self.server().host()))
    }

    /// All pages of a list.
    ///
    /// # Errors
    /// `Broker` where they are more than any server has.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &str,
        query: &str,
    ) -> Result<Option<Vec<T>>> {
        let (mut all, mut bytes) = (Vec::new(), 0);
        for number in 1..=MOST_PAGES {
            let page = format!("{path}?page={number}&page_size={PAGE_SIZE}&{query}");
            let Some(answer) = self.ask(operation, &page).await? else {
                // It has become shorter.
                return Ok((number > 1).then_some(all));
            };
            bytes += answer.size();
            let page: Page<T> = answer.read(operation)?;
            all.extend(page.items);
            if number >= page.page_count {
                return Ok(Some(all));
            }
            // Things are larger here than the fewest bytes that they can be made of.
            if bytes > MOST_BYTES || all.len() > MOST_PAGES * PAGE_SIZE {
                break;
            }
        }
        let host = self.server().host();
        let message = format!("a list of the management API at {host} does not end, or is larger than 128 MiB");
        Err(error(ErrorKind::Broker, operation, message))
    }

    pub(super) async fn read<T: DeserializeOwned>(&self, operation: &'static str, path: &str) -> Result<Option<T>> {
        self.ask(operation, path).await?.map(|answer| answer.read(operation)).transpose()
    }

    /// The API's answer, or `None` if it has nothing there.
    pub(super) async fn ask(&self, operation: &'static str, path: &str) -> Result<Option<Answer>> {
        let answer = self.send(operation, path).await?;
        if answer.is_some() {
            self.is_found.store(true, Ordering::Relaxed);
        } else if !self.is_found.load(Ordering::Relaxed) {
            // RabbitMQ says the same of a queue that is missing and of a path that leads nowhere.
            self.send(operation, "/whoami").await?.ok_or_else(|| foreign(operation, self.server().host()))?;
            self.is_found.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// Asks one server after the other, each at most once, until one can be reached. If none can, the last one's failure.
    async fn send(&self, operation: &'static str, path: &str) -> Result<Option<Answer>> {
        let first = self.current.load(Ordering::Relaxed);
        let (before, from) = self.servers.split_at(first);
        let mut unreached = None;
        for (place, server) in (first..).zip(from).chain((0..).zip(before)) {
            match self.send_to(operation, place, server, path).await {
                Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
                    unreached = Some(error);
                }
                answered => {
                    self.current.store(place, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        Err(unreached.unwrap_or_else(|| error(ErrorKind::Internal, operation, "there is no server to ask")))
    }

    async fn send_to(
        &self,
        operation: &'static str,
        place: usize,
        server: &Server,
        path: &str,
    ) -> Result<Option<Answer>> {
        let (path, login) = (server.at(path), server.login(operation)?);
        let exchanged = self.exchange(operation, place, server, &path, &login.authorization);
        let answered = tokio::time::timeout(self.timeout, exchanged).await;
        let late = |_| {
            let message = format!("no answer from the management API at {} in {:?}", server.host(), self.timeout);
            error(ErrorKind::Timeout, operation, message).advise(NOT_THERE)
        };
        answered.map_err(late)??.checked(operation, &login.user)
    }

    async fn exchange(
        &self,
        operation: &'static str,
        place: usize,
        server: &Server,
        path: &str,
        authorization: &HeaderValue,
    ) -> Result<Answer> {
        let kept = self.link().take_if(|(of, _)| *of == place);
        if let Some((_, mut link)) = kept {
            // Where it fails the server has closed it meanwhile, and it does no harm to ask anew.
            if let Ok(answer) = link.get(path, authorization.clone()).await {
                self.keep(place, link);
                return Ok(answer);
            }
        }
        let host = server.host();
        let stream = server.connect(operation).await?;
        let link = Link::open(host.clone(), stream).await;
        let mut link = link.map_err(|failure| unanswered(operation, host, failure))?;
        let answer = link.get(path, authorization.clone()).await;
        let answer = answer.map_err(|failure| unanswered(operation, host, failure))?;
        self.keep(place, link);
        Ok(answer)
    }

    fn keep(&self, place: usize, link: Link) {
        if link.is_open() {
            *self.link() = Some((place, link));
        }
    }

    fn link(&self) -> MutexGuard<'_, Option<(usize, Link)>> {
        // Nothing is done while it is held that could leave it half changed.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hosts and ports.
impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, server) in self.servers.iter().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { ", " }, server.host())?;
        }
        Ok(())
    }
}

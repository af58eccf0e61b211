//! Questions one after the other, over a connection that is kept.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use zephcast_core::{ErrorKind, Result};

use super::answer::{Answer, foreign, unanswered};
use super::figures::Page;
use super::link::Link;
use super::server::Server;
use crate::error::error;

/// The most that the API gives at once.
const PAGE_SIZE: usize = 500;

pub(super) struct Requests {
    server: Server,
    /// Of one request.
    timeout: Duration,
    /// Taken by who asks, and put back after a whole answer.
    link: Mutex<Option<Link>>,
    /// Whether the API was there once, so that what is not found is missing and not asked for at the wrong place.
    is_found: AtomicBool,
}

impl Requests {
    pub(super) fn new(server: Server, timeout: Duration) -> Self {
        Self { server, timeout, link: Mutex::default(), is_found: AtomicBool::new(false) }
    }

    pub(super) fn user(&self) -> &str {
        self.server.user()
    }

    /// What every management API has.
    pub(super) async fn read_some<T: DeserializeOwned>(&self, operation: &'static str, path: &str) -> Result<T> {
        self.read(operation, path).await?.ok_or_else(|| foreign(operation, &self.server))
    }

    /// All pages of a list.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &str,
        query: &str,
    ) -> Result<Option<Vec<T>>> {
        let mut all = Vec::new();
        for number in 1.. {
            let page = format!("{path}?page={number}&page_size={PAGE_SIZE}&{query}");
            match self.read::<Page<T>>(operation, &page).await? {
                Some(page) => {
                    all.extend(page.items);
                    if number >= page.page_count {
                        break;
                    }
                }
                // It has become shorter.
                None if number > 1 => break,
                None => return Ok(None),
            }
        }
        Ok(Some(all))
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
            self.send(operation, "/whoami").await?.ok_or_else(|| foreign(operation, &self.server))?;
            self.is_found.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }

    async fn send(&self, operation: &'static str, path: &str) -> Result<Option<Answer>> {
        let answered = tokio::time::timeout(self.timeout, self.exchange(operation, &self.server.at(path))).await;
        let late = |_| {
            let message = format!("no answer from the management API at {} in {:?}", self.server, self.timeout);
            error(ErrorKind::Timeout, operation, message)
        };
        answered.map_err(late)??.checked(operation, self.server.user())
    }

    async fn exchange(&self, operation: &'static str, path: &str) -> Result<Answer> {
        let kept = self.link().take();
        if let Some(mut link) = kept {
            // Where it fails the server has closed it, and it does no harm to ask twice.
            if let Ok(answer) = link.get(path, self.server.authorization()).await {
                self.keep(link);
                return Ok(answer);
            }
        }
        let (host, stream) = self.server.connect(operation).await?;
        let link = Link::open(host.clone(), stream).await;
        let mut link = link.map_err(|failure| unanswered(operation, &host, failure))?;
        let answer = link.get(path, self.server.authorization()).await;
        let answer = answer.map_err(|failure| unanswered(operation, &host, failure))?;
        self.keep(link);
        Ok(answer)
    }

    fn keep(&self, link: Link) {
        if link.is_open() {
            *self.link() = Some(link);
        }
    }

    fn link(&self) -> MutexGuard<'_, Option<Link>> {
        // Nothing is done while it is held that could leave it half changed.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hosts and ports.
impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)
    }
}

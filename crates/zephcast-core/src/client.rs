//! One connected broker, for applications.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::deadline::after;
use crate::driver::{Admin, Driver};
use crate::engine::Isolation;
use crate::publisher::Publishers;
use crate::{
    Capabilities, ConsumerBuilder, Error, ErrorKind, GroupBuilder, GroupName, GroupStatus, PublisherBuilder, Result,
    StreamName,
};

/// A client of one broker. Clones share the connection.
#[derive(Clone)]
pub struct Client {
    driver: Arc<dyn Driver>,
    isolation: Arc<Isolation>,
    publishers: Arc<Publishers>,
}

impl Client {
    /// A client over a driver. Applications connect by URL or by a broker's typed configuration instead.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>) -> Self {
        Self { driver, isolation: Arc::new(Isolation::new()), publishers: Arc::default() }
    }

    /// What this broker can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        self.driver.capabilities()
    }

    /// Sets up a publisher to a stream; `.await` it.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// let publisher = client.publisher("orders").in_flight(500).await?;
    /// let receipt = publisher.publish("two apples").await?;
    /// assert!(receipt.position.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn publisher(&self, stream: impl AsRef<str>) -> PublisherBuilder {
        PublisherBuilder::new(self.driver.clone(), self.publishers.clone(), stream.as_ref())
    }

    /// Sets up a consumer of a stream: one member of a group, from which deliveries are pulled. See
    /// [`ConsumerBuilder::start`].
    pub fn consumer(&self, stream: impl AsRef<str>) -> ConsumerBuilder {
        ConsumerBuilder::new(self.driver.clone(), self.isolation.clone(), stream.as_ref())
    }

    /// Sets up members of a group that call a handler for each delivery. See [`GroupBuilder::run`].
    pub fn group(&self, stream: impl AsRef<str>, group: impl AsRef<str>) -> GroupBuilder {
        GroupBuilder::new(self.consumer(stream).group(group))
    }

    /// A look at a group: lag, in flight, oldest pending, members.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when the stream or the group does not exist,
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a name that neither can have, and what
    /// [every call of a broker](Driver#errors) can fail with.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// let consumer = client.consumer("orders").group("billing").member("billing-1").start().await?;
    /// client.publisher("orders").await?.publish("two apples").await?;
    ///
    /// let status = client.group_status("orders", "billing").await?;
    /// assert_eq!(status.lag, Some(1));
    /// assert_eq!(status.members[0].name.as_str(), "billing-1");
    /// # drop(consumer);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn group_status(&self, stream: impl AsRef<str>, group: impl AsRef<str>) -> Result<GroupStatus> {
        self.driver.group_status(&StreamName::new(stream)?, &GroupName::new(group)?).await
    }

    /// Streams, groups and dead letters.
    #[must_use]
    pub fn admin(&self) -> &dyn Admin {
        self.driver.admin()
    }

    /// Waits for what publishers still have, then closes every connection, all within the deadline. Consumers are
    /// closed before, each by itself. Who closes again, or at the same time, waits for the same; the shortest deadline
    /// counts. A message that is on its way by then may still be stored, and its receipt answers when its outcome is known,
    /// at its publish timeout at the latest.
    ///
    /// # Errors
    /// What the broker says; [`Timeout`](crate::ErrorKind::Timeout) when it does not say anything within the deadline.
    ///
    /// # Cancel safety
    /// Cancel safe: call it again.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// let publisher = client.publisher("orders").await?;
    /// let receipt = publisher.enqueue("two apples").await?;
    /// client.close(Duration::from_secs(10)).await?;
    /// assert!(receipt.await.is_ok(), "it was waited for");
    /// assert!(publisher.publish("three pears").await.is_err(), "nothing more is taken");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        let until = after(Instant::now(), deadline);
        // What is not out by then gets its answer from the closed driver.
        let _ = timeout_at(until, self.publishers.finish()).await;
        let closing = self.driver.close(until.saturating_duration_since(Instant::now()));
        timeout_at(until, closing).await.unwrap_or_else(|_| {
            let text = format!("the connection did not close within {deadline:?}");
            Err(Error::new(ErrorKind::Timeout, "close", text).on(self.capabilities().broker))
        })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("broker", &self.capabilities().broker).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;

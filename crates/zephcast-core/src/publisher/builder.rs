//! How a publisher is set up.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::queue::Queue;
use super::worker::Worker;
use super::{Publisher, Publishers, Shared};
use crate::driver::Driver;
use crate::{Error, ErrorKind, Result, StreamName};

/// Sets up a [`Publisher`]; `.await` it.
///
/// # Errors
/// Awaited, it fails with [`ErrorKind::InvalidInput`] for a name or a setting that cannot be used, with
/// [`ErrorKind::NotFound`] for a missing stream that is not to be created, and with what
/// [every call of a broker](Driver#errors) can fail with.
///
/// # Cancel safety
/// Dropped while it is awaited, the stream may have been created; nothing else is left.
#[must_use = "nothing happens before it is awaited"]
pub struct PublisherBuilder {
    driver: Arc<dyn Driver>,
    publishers: Arc<Publishers>,
    stream: String,
    pub(crate) in_flight: Option<u32>,
    pub(crate) in_flight_bytes: u32,
    pub(crate) timeout: Duration,
    create: bool,
}

impl PublisherBuilder {
    pub(crate) fn new(driver: Arc<dyn Driver>, publishers: Arc<Publishers>, stream: &str) -> Self {
        Self {
            driver,
            publishers,
            stream: stream.to_owned(),
            in_flight: None,
            in_flight_bytes: 16 << 20,
            timeout: Duration::from_secs(30),
            create: true,
        }
    }

    /// The most messages without an answer; more wait. Default 1,000, on Kafka 10,000; at least 1.
    pub fn in_flight(mut self, messages: u32) -> Self {
        self.in_flight = Some(messages);
        self
    }

    /// The most bytes without an answer; one larger message goes alone. Default 16 MiB, at least 1.
    pub fn in_flight_bytes(mut self, bytes: u32) -> Self {
        self.in_flight_bytes = bytes;
        self
    }

    /// How long a message may take from the call to the broker's answer, waiting for room and for a broker that is away
    /// included. Default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether a missing stream is created with the broker's defaults. Default: it is.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    async fn open(self) -> Result<Publisher> {
        if self.in_flight == Some(0) || self.in_flight_bytes == 0 {
            let text = "nothing can be published with a window of 0; it is at least 1 message and 1 byte";
            return Err(Error::new(ErrorKind::InvalidInput, "publish", text));
        }
        let stream = StreamName::new(&self.stream)?;
        let capabilities = self.driver.capabilities();
        capabilities.names.check(&stream)?;
        let sink = self.driver.open_sink(&stream, self.create).await?;
        let in_flight = self.in_flight.unwrap_or_else(|| sink.window().max(1));
        let queue = Arc::new(Queue::new());
        let semaphore = |permits: u32| Arc::new(Semaphore::new(permits as usize));
        let shared = Arc::new(Shared {
            stream,
            sink: sink.clone(),
            broker: capabilities.broker,
            max_payload: capabilities.max_payload,
            timeout: self.timeout,
            messages: semaphore(in_flight),
            bytes: semaphore(self.in_flight_bytes),
            most_messages: in_flight,
            most_bytes: self.in_flight_bytes,
            queue: queue.clone(),
        });
        let worker = Worker::new(sink, queue, shared.messages.clone(), shared.bytes.clone(), shared.broker);
        self.publishers.start(&shared, worker);
        Ok(Publisher { shared })
    }
}

impl IntoFuture for PublisherBuilder {
    type Output = Result<Publisher>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl std::fmt::Debug for PublisherBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublisherBuilder").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::client::tests::client;

    #[tokio::test]
    async fn the_window_is_the_users_or_else_what_is_best_for_the_broker() {
        let client = client();
        let publisher = client.publisher("orders").await.unwrap();
        assert_eq!((publisher.shared.most_messages, publisher.shared.messages.available_permits()), (1_000, 1_000));
        let publisher = client.publisher("orders").in_flight(7).await.unwrap();
        assert_eq!((publisher.shared.most_messages, publisher.shared.messages.available_permits()), (7, 7));
    }
}

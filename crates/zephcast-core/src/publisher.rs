//! Publishing: pipelined, confirmed, bounded.

mod answers;
mod builder;
mod queue;
mod worker;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use self::answers::Answers;
pub use self::builder::PublisherBuilder;
use self::queue::Queue;
use self::worker::Worker;
use crate::deadline::after;
use crate::driver::Sink;
use crate::{Broker, Error, ErrorKind, Message, MessageId, PublishError, Receipt, StreamName};

/// Publishes to one stream. Clones share the pipeline; messages are sent in the order in which they were enqueued. One
/// that the broker refused for a while, out of the middle of the pipeline, is stored after its neighbours: whoever needs
/// strict order awaits each [`publish`](Self::publish).
///
/// A message that certainly was not stored because the broker was away is sent again until the publish timeout; one
/// whose outcome is unknown never is.
#[derive(Clone, Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    stream: StreamName,
    sink: Arc<dyn Sink>,
    broker: Broker,
    max_payload: Option<usize>,
    timeout: Duration,
    /// Room in messages and in bytes; taken here, given back by the worker.
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    most_messages: u32,
    most_bytes: u32,
    queue: Arc<Queue>,
}

impl Publisher {
    /// Why what is published waits, as far as is known: the broker is away
    /// ([`Unavailable`](ErrorKind::Unavailable)) or takes no messages for now ([`Blocked`](ErrorKind::Blocked)). `None`
    /// when nothing is known to be wrong.
    #[must_use]
    pub fn trouble(&self) -> Option<Error> {
        self.shared.sink.trouble()
    }

    /// Publishes a message and waits for the broker's confirmation.
    ///
    /// # Errors
    /// [`PublishError::Failed`] when it certainly was not stored, [`PublishError::Unknown`] when it may be: publish it
    /// again with the same id then.
    ///
    /// # Cancel safety
    /// Dropped while waiting for room, nothing was sent; dropped later, the outcome is unknown and the message goes on.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// use zephcast_core::Message;
    ///
    /// let publisher = client.publisher("orders").await?;
    /// let receipt = publisher.publish(Message::new("two apples").with_key("customer-7")).await?;
    /// assert_eq!(client.admin().stream(&"orders".parse()?).await?.depth, Some(1));
    /// # assert!(receipt.position.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn publish(&self, message: impl Into<Message>) -> Result<Receipt, PublishError> {
        self.enqueue(message).await?.await
    }

    /// Waits for room only, and hands back a receipt to come.
    ///
    /// # Errors
    /// [`PublishError::Failed`] when the message cannot be sent, or no room came within the timeout.
    ///
    /// # Cancel safety
    /// Cancel safe: dropped while waiting, nothing was sent.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// let publisher = client.publisher("orders").await?;
    /// let (first, second) = (publisher.enqueue("two apples").await?, publisher.enqueue("three pears").await?);
    /// // Both are on their way; their receipts come when the broker has them.
    /// assert_ne!(first.await?.id, second.await?.id);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn enqueue(&self, message: impl Into<Message>) -> Result<PendingReceipt, PublishError> {
        let message = message.into();
        let shared = &*self.shared;
        shared.check(&message).map_err(PublishError::Failed)?;
        let deadline = after(Instant::now(), shared.timeout);
        let size = u32::try_from(message.byte_len()).unwrap_or(u32::MAX).clamp(1, shared.most_bytes);
        shared.take_room(size, deadline).await.map_err(PublishError::Failed)?;
        match shared.queue.push(message, size, deadline) {
            Some((id, answers, place)) => Ok(PendingReceipt { id, broker: shared.broker, answers, place }),
            None => Err(PublishError::Failed(shared.closed())),
        }
    }

    /// Publishes messages in order, as many at a time as there is room for, and answers for each in the same order.
    ///
    /// # Errors
    /// For each message as [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish), for each message; those whose turn had not come are not sent.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// use zephcast_core::Message;
    ///
    /// let publisher = client.publisher("orders").await?;
    /// let receipts = publisher.publish_all((0..1_000).map(|n| Message::new(format!("order {n}")))).await;
    /// assert!(receipts.len() == 1_000 && receipts.iter().all(Result::is_ok));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn publish_all(&self, messages: impl IntoIterator<Item = Message>) -> Vec<Result<Receipt, PublishError>> {
        let mut pending = Vec::new();
        for message in messages {
            pending.push(self.enqueue(message).await);
        }
        let mut receipts = Vec::with_capacity(pending.len());
        for enqueued in pending {
            receipts.push(match enqueued {
                Ok(receipt) => receipt.await,
                Err(error) => Err(error),
            });
        }
        receipts
    }

    /// Waits until everything enqueued so far has its answer.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// let publisher = client.publisher("orders").await?;
    /// for n in 0..10 {
    ///     // Nobody asks for these receipts: an error would be seen by nobody.
    ///     let _ = publisher.enqueue(format!("order {n}")).await?;
    /// }
    /// publisher.flush().await;
    /// assert_eq!(client.admin().stream(&"orders".parse()?).await?.depth, Some(10));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn flush(&self) {
        self.shared.flush().await;
    }
}

impl Shared {
    fn check(&self, message: &Message) -> Result<(), Error> {
        message.check_reserved()?;
        match self.max_payload {
            Some(most) if message.payload().len() > most => Err(Error::new(
                ErrorKind::TooLarge,
                "publish",
                format!("the payload has {} bytes, at most {most} are allowed", message.payload().len()),
            )
            .on(self.broker)),
            _ => Ok(()),
        }
    }

    async fn take_room(&self, size: u32, deadline: Instant) -> Result<(), Error> {
        // Without a wait in the usual case. Whoever waits already gets room first, so nobody overtakes for long.
        if let Ok(message) = self.messages.try_acquire()
            && let Ok(bytes) = self.bytes.try_acquire_many(size)
        {
            message.forget();
            bytes.forget();
            return Ok(());
        }
        // Otherwise in turn, both within the deadline.
        let room = async {
            let message = self.messages.acquire().await?;
            let bytes = self.bytes.acquire_many(size).await?;
            message.forget();
            bytes.forget();
            Ok::<_, tokio::sync::AcquireError>(())
        };
        match timeout_at(deadline, room).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => {
                let text = format!("no room for {:?}: the broker takes less than is published", self.timeout);
                Err(Error::new(ErrorKind::Timeout, "publish", text).on(self.broker))
            }
        }
    }

    /// Room is whole again when nothing is in flight; whoever enqueues meanwhile waits behind.
    async fn flush(&self) {
        // A closed publisher has nothing in flight.
        let _ = self.messages.acquire_many(self.most_messages).await;
    }

    fn closed(&self) -> Error {
        let text = format!("the publisher to {} is closed", self.stream);
        Error::new(ErrorKind::Closed, "publish", text).on(self.broker)
    }
}

/// A receipt to come. Dropping it does not take the message back.
#[derive(Debug)]
#[must_use = "without it nobody knows whether the message was stored"]
pub struct PendingReceipt {
    id: MessageId,
    broker: Broker,
    answers: Arc<Answers>,
    place: u32,
}

impl PendingReceipt {
    /// The message's id: the caller's, or the one that was made for it.
    #[must_use]
    pub fn id(&self) -> &MessageId {
        &self.id
    }
}

impl Future for PendingReceipt {
    type Output = Result<Receipt, PublishError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answers.poll(self.place as usize, cx).map(|answer| match answer {
            Some(stored) => stored.map(|position| Receipt { id: self.id.clone(), position }),
            None => {
                let text = "the publisher ended before the broker's answer";
                Err(PublishError::Unknown(Error::new(ErrorKind::Closed, "publish", text).on(self.broker)))
            }
        })
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("stream", &self.stream).field("broker", &self.broker).finish_non_exhaustive()
    }
}

/// The worker ends after its last answer.
impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Every publisher of a client, so that closing can wait for what they still have.
#[derive(Debug, Default)]
pub(crate) struct Publishers(Mutex<Vec<Registered>>);

/// A publisher as its client knows it.
#[derive(Clone, Debug)]
struct Registered {
    shared: Weak<Shared>,
    worker: AbortHandle,
    /// Its sender lives as long as the worker; nothing is sent.
    ended: watch::Receiver<()>,
}

impl Publishers {
    /// Runs a publisher's worker.
    fn start(&self, shared: &Arc<Shared>, worker: Worker) {
        let (alive, ended) = watch::channel(());
        let run = async move {
            worker.run().await;
            drop(alive);
        };
        let worker = tokio::spawn(run).abort_handle();
        let mut list = self.lock();
        list.retain(|publisher| !publisher.worker.is_finished());
        list.push(Registered { shared: Arc::downgrade(shared), worker, ended });
    }

    /// Waits for everything in flight, and lets nothing more in. Nothing is forgotten before its end, so that whoever
    /// asks again, or beside another, waits as well.
    pub(crate) async fn finish(&self) {
        let list = self.lock().clone();
        for Registered { shared, worker, mut ended } in list {
            match shared.upgrade() {
                Some(shared) => {
                    shared.flush().await;
                    shared.messages.close();
                    worker.abort();
                }
                // Nobody publishes any more: the worker ends after its last answer, and drops the sender.
                None => drop(ended.changed().await),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Registered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

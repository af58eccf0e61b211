//! Copies of messages on their way to queues of a group's own: confirmed before the original is settled.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lapin::types::ShortString;
use tokio::sync::oneshot;
use zephcast_core::driver::LONGEST;
use zephcast_core::{Error, ErrorKind, Result};

use crate::connection::{Connection, blocked_by};
use crate::error::{beside_too_large, error, largest_message, late, translate};
use crate::lane::{Lane, Outcome};
use crate::link::Valve;
use crate::properties::{self, Outgoing};

/// Why a copy is not stored: its queue is not there.
#[derive(Debug)]
struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such queue")
    }
}

impl std::error::Error for Gone {}

/// Whether a copy is not stored because its queue is gone, so that it may be made and tried again: none is stored twice.
pub(crate) fn is_gone(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<Gone>)
}

/// The way to queues, shared by all members of a client. Not on a connection that consumes: the server takes nothing from
/// a connection that publishes when it has too little memory, and acks must go on.
pub(crate) struct Mover {
    connection: Arc<Connection>,
    lane: tokio::sync::Mutex<Option<Arc<Lane>>>,
    /// Queues that were there when they were last needed.
    known: Mutex<HashSet<String>>,
}

/// Copies on their way.
pub(crate) struct Sent {
    operation: &'static str,
    queues: Vec<ShortString>,
    lane: Arc<Lane>,
    outcomes: oneshot::Receiver<Vec<Outcome>>,
}

impl Sent {
    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.queues.len()
    }

    /// Of the connection that they were sent by.
    pub(crate) fn valve(&self) -> &Valve {
        self.lane.valve()
    }
}

impl Mover {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, lane: tokio::sync::Mutex::default(), known: Mutex::default() }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether a queue was there when it was last needed.
    pub(crate) fn knows(&self, queue: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(queue)
    }

    pub(crate) fn learn(&self, queue: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.to_owned());
    }

    /// Queues were deleted.
    pub(crate) fn forget_all(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A queue was deleted.
    pub(crate) fn forget(&self, queue: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(queue);
    }

    /// The largest properties of a copy that the connection carries, also with the expiration of one that is
    /// [delayed](Outgoing::delay).
    pub(crate) async fn most_properties(&self, operation: &'static str) -> Result<usize> {
        Ok(self.connection.link(operation).await?.frame_max().saturating_sub(properties::EXPIRATION_BYTES))
    }

    /// Stores copies, each in the queue of its routing key: an answer for each. Stored again after an error, one may be there
    /// twice.
    pub(crate) async fn store(&self, operation: &'static str, copies: Vec<Outgoing>) -> Result<Vec<Result<()>>> {
        let mut sent = self.send(operation, &ShortString::default(), copies).await?;
        self.answers(&mut sent).await
    }

    /// Sends copies by this exchange, each to the queue of its routing key.
    ///
    /// # Cancel safety
    /// Cancel safe: given up, none is sent.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        exchange: &ShortString,
        mut copies: Vec<Outgoing>,
    ) -> Result<Sent> {
        let queues: Vec<ShortString> = copies.iter().map(|copy| copy.routing_key.clone()).collect();
        let mut current = self.lane.lock().await;
        if let Some(reason) = self.connection.blocked() {
            return Err(blocked_by(operation, &reason));
        }
        let lane = match current.as_ref().filter(|lane| !lane.is_over() && !lane.is_worn()) {
            Some(lane) => lane.clone(),
            None => {
                let lane = Arc::new(Lane::open(&self.connection, operation).await?);
                *current = Some(lane.clone());
                lane
            }
        };
        for copy in &mut copies {
            copy.exchange.clone_from(exchange);
        }
        let outcomes = lane.publish(copies);
        Ok(Sent { operation, queues, lane, outcomes })
    }

    /// Waits for what becomes of copies: an answer for each. The lane finds out when the server is silent; one that takes
    /// nothing is not waited for any longer than for an answer.
    ///
    /// # Errors
    /// `Blocked` when the server takes nothing: this may be called again then, and only then.
    ///
    /// # Cancel safety
    /// Cancel safe: this may be called again.
    pub(crate) async fn answers(&self, sent: &mut Sent) -> Result<Vec<Result<()>>> {
        let Sent { operation, queues, lane, outcomes } = sent;
        let timeout = self.connection.config().request_timeout.min(LONGEST);
        let outcomes = loop {
            match tokio::time::timeout(timeout, &mut *outcomes).await {
                Ok(Ok(outcomes)) => break outcomes,
                Ok(Err(_)) => return Err(error(ErrorKind::Unavailable, operation, "the connection was lost")),
                Err(_) => {
                    if let Some(reason) = lane.blocked() {
                        return Err(blocked_by(operation, &reason));
                    }
                }
            }
        };
        let answers = queues.iter().zip(outcomes).map(|(queue, outcome)| self.answer(operation, queue, outcome));
        Ok(answers.collect())
    }

    fn answer(&self, operation: &'static str, queue: &ShortString, outcome: Outcome) -> Result<(), Error> {
        match outcome {
            Outcome::Stored => Ok(()),
            Outcome::Unroutable => {
                // Deleted meanwhile: made again at the next try.
                self.forget(queue.as_str());
                let text = format!("the queue {:?} is gone", queue.as_str());
                Err(error(ErrorKind::Unavailable, operation, text).caused_by(Gone))
            }
            Outcome::Refused => Err(error(
                ErrorKind::Blocked,
                operation,
                format!("the queue {:?} takes none: it is full, or has no leader for now", queue.as_str()),
            )),
            Outcome::NotSent => {
                Err(error(ErrorKind::Unavailable, operation, "the channel was closed before it was sent"))
            }
            Outcome::Late => Err(late(operation)),
            Outcome::Unknown(source) if largest_message(&source).is_some() => Err(beside_too_large(operation, *source)),
            Outcome::Bad(source) | Outcome::Unknown(source) => Err(translate(operation, *source)),
        }
    }
}

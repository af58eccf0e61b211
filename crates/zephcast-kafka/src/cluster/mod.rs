//! A connection for looking and managing, and what it can be asked.

pub(crate) mod groups;
pub(crate) mod offsets;
mod serving;
pub(crate) mod topics;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::sync::watch;
use tokio::time::Instant;
use zephcast_core::{Error, ErrorKind, GroupName, Result, StreamName};

pub(crate) use self::serving::{Watcher, looking};
use crate::KafkaConfig;
use crate::context::{Context, Trouble};
use crate::error::{Failure, closed, code_of, error};
use crate::native::{self, Library};
use crate::topics::Topics;

const CONNECT: &str = "connect";
/// How much longer than the client library a call waits for its answer.
const GRACE: Duration = Duration::from_secs(1);
/// After so long without an answer it is asked who is there.
const LOOK_AROUND: Duration = Duration::from_secs(1);
/// For how long it is asked again where somebody is taking office, and after which pause.
const TAKES_OFFICE: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(30);

/// A connection for looking and managing. It takes part in no group and publishes nothing.
pub(crate) struct Cluster {
    config: Arc<KafkaConfig>,
    /// Replaced when it is overdue; `close` takes it.
    library: Mutex<Option<Library>>,
    /// What its clients tell outside of calls.
    context: Context,
    closed: watch::Sender<bool>,
    /// Whoever makes groups begin: one after another, so that a second one finds the first one's start.
    pub(crate) anchoring: tokio::sync::Mutex<()>,
    /// Whoever removes dead letters: one after another, so that what one writes down another one does not forget.
    pub(crate) removing: tokio::sync::Mutex<()>,
}

impl Cluster {
    /// Connects.
    ///
    /// # Errors
    /// At once what cannot heal, such as `Auth`; `Unavailable` when nobody answered within the connect timeout.
    pub(crate) async fn connect(config: Arc<KafkaConfig>) -> Result<Self> {
        // Dropped unfinished or with an error, it closes its connections.
        let cluster = Self::open(config)?;
        let timeout = cluster.config.connect_timeout;
        let greet = |library, timeout| async move { native::describe_cluster(&library, timeout).await };
        let answer = cluster.ask_within(CONNECT, timeout, greet);
        let answer = tokio::select! {
            biased;
            answer = answer => answer.map(drop),
            _ = cluster.context.trouble.telling() => Err(cluster.silence(CONNECT, timeout)),
        };
        answer.map(|()| cluster)
    }

    /// Makes a client, which connects on its own.
    pub(crate) fn open(config: Arc<KafkaConfig>) -> Result<Self> {
        let context = Context::new(&config);
        Ok(Self {
            library: Mutex::new(Some(serving::start(&config, context.clone())?)),
            config,
            context,
            closed: watch::Sender::new(false),
            anchoring: tokio::sync::Mutex::default(),
            removing: tokio::sync::Mutex::default(),
        })
    }

    /// What a client that is made for one question calls back.
    pub(crate) fn watcher(&self) -> Watcher {
        Watcher(self.context.clone())
    }

    pub(crate) fn config(&self) -> &Arc<KafkaConfig> {
        &self.config
    }

    /// Asks, and waits for as long as a request may take. Asks again for a moment where somebody is just taking office.
    ///
    /// # Errors
    /// `Closed` on a closed cluster; otherwise what the broker refused, or why there is no answer.
    pub(crate) async fn ask<T, F>(
        &self,
        operation: &'static str,
        question: impl Fn(Library, Duration) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.ask_for(operation, self.config.request_timeout, question).await
    }

    /// As [`ask`](Self::ask), and waits so long.
    pub(crate) async fn ask_for<T, F>(
        &self,
        operation: &'static str,
        timeout: Duration,
        question: impl Fn(Library, Duration) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let until = Instant::now() + TAKES_OFFICE;
        loop {
            match self.ask_within(operation, timeout, &question).await {
                Err(error) if code_of(&error).is_some_and(is_taking_office) && Instant::now() < until => {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    async fn ask_within<T, F>(
        &self,
        operation: &'static str,
        timeout: Duration,
        question: impl Fn(Library, Duration) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let library = self.library(operation)?;
        let mut ending = self.closed.subscribe();
        let answer = tokio::time::timeout(timeout + GRACE, patiently(&library, question(library.clone(), timeout)));
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            _ = ending.wait_for(|closed| *closed) => return Err(closed(operation)),
        };
        let failure = match answer {
            Ok(Ok(answer)) => {
                self.context.trouble.is_over();
                return Ok(answer);
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(Code::OperationTimedOut, String::new()),
        };
        Err(match is_silence(failure.code) {
            true => {
                library.lost();
                self.silence(operation, timeout)
            }
            false => failure.into_error(operation),
        })
    }

    /// The client, for what blocks a thread.
    pub(crate) fn library(&self, operation: &'static str) -> Result<Library> {
        let mut library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        let known = library.as_mut().ok_or_else(|| closed(operation))?;
        if known.is_overdue() {
            *known = serving::start(&self.config, self.context.clone())?;
        }
        Ok(known.clone())
    }

    /// What is said when nobody answered: with the last cause, if one is known.
    pub(crate) fn silence(&self, operation: &'static str, timeout: Duration) -> Error {
        let servers = self.config.servers();
        let trouble = &self.context.trouble;
        trouble.explain(match trouble.last() {
            Some(_) if operation == CONNECT => {
                error(ErrorKind::Unavailable, operation, format!("none of {servers} can be reached"))
            }
            Some(_) => error(ErrorKind::Unavailable, operation, format!("no answer within {timeout:?} from {servers}")),
            None if operation == CONNECT => {
                let text = format!("none of {servers} answered within {timeout:?}");
                error(ErrorKind::Unavailable, operation, text)
            }
            None => error(ErrorKind::Timeout, operation, format!("no answer within {timeout:?} from {servers}")),
        })
    }

    /// The topics of a group, and its id.
    pub(crate) fn topics_of(&self, stream: &StreamName, group: &GroupName) -> Topics {
        Topics::new(stream, group, self.config.group_id(stream, group))
    }

    /// What the clients of this cluster call back.
    pub(crate) fn context(&self) -> Context {
        self.context.clone()
    }

    pub(crate) fn trouble(&self) -> &Trouble {
        &self.context.trouble
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends every call with `Closed`, and the connection when the last of them is gone.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.library.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Waits for an answer. From time to time it is asked who controls the cluster: it may be somebody else by now, and the
/// library asks the one whom it knew when the question was put.
async fn patiently<T>(library: &Library, answer: impl Future<Output = T>) -> T {
    tokio::pin!(answer);
    loop {
        match tokio::time::timeout(LOOK_AROUND, &mut answer).await {
            Ok(answer) => return answer,
            Err(_) => library.lost(),
        }
    }
}

/// Whether the one that was asked is not, or not yet, whom the cluster says it is: leader, coordinator or controller.
/// Nothing was done.
fn is_taking_office(code: Code) -> bool {
    matches!(
        code,
        Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::NotCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotController
            // What the library says of partitions without a leader.
            | Code::NoEnt
    )
}

/// Whether this says no more than that nobody answered.
fn is_silence(code: Code) -> bool {
    matches!(code, Code::OperationTimedOut | Code::TimedOutQueue | Code::BrokerTransportFailure | Code::AllBrokersDown)
}

/// Whether the broker says that there is no such topic.
fn names_no_topic(code: Code) -> bool {
    matches!(code, Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::InvalidTopic)
}

#[cfg(test)]
mod tests;

//! One error type for every broker: what went wrong, where, and whether trying again can help.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::Broker;

/// The result of an operation that fails with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure this is, so that a program can decide without reading text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value given by the caller cannot be used: a name, a URL, a header, a setting. Nothing was sent.
    InvalidInput,
    /// This broker cannot do what was asked; see [`Capabilities`](crate::Capabilities). Nothing was sent.
    Unsupported,
    /// The broker refused the credentials, or TLS did not establish trust.
    Auth,
    /// The credentials are good, but this is not allowed.
    PermissionDenied,
    /// The stream, group or message does not exist.
    NotFound,
    /// It exists already, with other properties, or is in use.
    Conflict,
    /// The key, topic or queue exists and is something else.
    WrongType,
    /// The message is larger than the broker or the client's limit allows.
    TooLarge,
    /// No queue takes the message.
    Unroutable,
    /// The broker takes nothing more for now: memory, disk or a queue limit.
    Blocked,
    /// No answer within the time allowed.
    Timeout,
    /// The broker cannot be reached, or is starting, failing over or read-only.
    Unavailable,
    /// The delivery is no longer ours: revoked, expired or taken over. It is, or will be, with another member.
    LeaseLost,
    /// The client, publisher or consumer was closed.
    Closed,
    /// The broker sent what cannot be understood, or refused for a reason of its own.
    Broker,
    /// A defect: an invariant of this library did not hold.
    Internal,
}

impl ErrorKind {
    /// The kind in snake case, as the command line and metrics show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::Unsupported => "unsupported",
            Self::Auth => "auth",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::WrongType => "wrong_type",
            Self::TooLarge => "too_large",
            Self::Unroutable => "unroutable",
            Self::Blocked => "blocked",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::LeaseLost => "lease_lost",
            Self::Closed => "closed",
            Self::Broker => "broker",
            Self::Internal => "internal",
        }
    }

    /// Whether the same call can succeed later without anyone changing it: the broker is away, blocked or slow.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Blocked | Self::Timeout | Self::Unavailable)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure of an operation on a broker.
///
/// `Display` says what was being done and what happened at this level only; the cause is in
/// [`source`](StdError::source). Cloning is cheap, since one failure can end many pending operations.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    broker: Option<Broker>,
    message: String,
    advice: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of `kind` while doing `operation` (a verb such as `"publish"`), told in `message`.
    ///
    /// The message must carry no secret and no payload.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let (message, broker, advice, source) = (message.into(), None, None, None);
        Self(Arc::new(Inner { kind, operation, broker, message, advice, source }))
    }

    /// Names the broker on which it happened.
    #[must_use]
    pub fn on(self, broker: Broker) -> Self {
        self.rebuild(|inner| inner.broker = Some(broker))
    }

    /// Adds the cause, which is reachable by [`source`](StdError::source) and can be downcast.
    #[must_use]
    pub fn caused_by(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.rebuild(|inner| inner.source = Some(Box::new(source)))
    }

    /// Adds what a person can do about it, where the kind alone does not tell.
    ///
    /// ```
    /// use zephcast_core::{Error, ErrorKind};
    ///
    /// let cause = Error::new(ErrorKind::NotFound, "connect", "no such place").advise("check the path of the URL");
    /// let error = Error::new(ErrorKind::NotFound, "publish", "no connection").caused_by(cause);
    /// assert_eq!(error.advice(), Some("check the path of the URL"));
    /// ```
    #[must_use]
    pub fn advise(self, advice: &'static str) -> Self {
        self.rebuild(|inner| inner.advice = Some(advice))
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done, a verb.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The broker on which it happened, if one was involved.
    #[must_use]
    pub fn broker(&self) -> Option<Broker> {
        self.0.broker
    }

    /// What happened, without operation and broker.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What a person can do about it: what was said here, or else with its cause. `Display` leaves it out.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        let cause = || self.source()?.downcast_ref::<Self>()?.advice();
        self.0.advice.or_else(cause)
    }

    /// Whether the same call can succeed later; decided by [`ErrorKind::is_retryable`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// Changes a value that nobody else holds yet: the setters run while the error is being built.
    fn rebuild(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.broker {
            Some(broker) => write!(f, "{} on {broker}: {}", self.0.operation, self.0.message),
            None => write!(f, "{}: {}", self.0.operation, self.0.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("broker", &self.0.broker)
            .field("message", &self.0.message)
            .field("source", &self.0.source.as_ref().map(ToString::to_string))
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// Why a message has no receipt. The two cases ask for different answers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// Certainly not stored: publishing again cannot make a duplicate.
    #[error("not stored")]
    Failed(#[source] Error),
    /// It may be stored: publish again with the same [id](crate::MessageId), so that consumers can tell.
    #[error("may be stored")]
    Unknown(#[source] Error),
}

impl PublishError {
    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &Error {
        match self {
            Self::Failed(error) | Self::Unknown(error) => error,
        }
    }

    /// The kind of [`error`](Self::error).
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.error().kind()
    }

    /// Whether the message may be stored all the same.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Failed(error) | PublishError::Unknown(error) => error,
        }
    }
}

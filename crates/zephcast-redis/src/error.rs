//! The one place where what Redis and its client library say becomes an error of ours.

use crate::probe::WRONG_LANGUAGE;
use fred::error::{Error as FredError, ErrorKind as FredKind};
use zephcast_core::{Broker, Error, ErrorKind};

/// An error of this broker while doing `operation`.
pub(crate) fn error(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(kind, operation, message).on(Broker::Redis)
}

pub(crate) fn invalid(operation: &'static str, message: impl Into<String>) -> Error {
    error(ErrorKind::InvalidInput, operation, message)
}

pub(crate) fn closed(operation: &'static str) -> Error {
    error(ErrorKind::Closed, operation, "the client was closed")
}

/// There is no such stream.
pub(crate) fn missing(operation: &'static str, stream: &str) -> Error {
    error(ErrorKind::NotFound, operation, format!("the stream {stream:?} does not exist"))
}

/// The server answered what cannot be understood.
pub(crate) fn garbled(operation: &'static str, what: &str) -> Error {
    error(ErrorKind::Broker, operation, format!("the server's answer was not understood: {what}"))
}

/// Why a call brought no answer, or not a good one.
#[derive(Clone, Debug)]
pub(crate) enum CallFailure {
    /// The server refused. Whatever was asked for was not done.
    Refused(FredError),
    /// The connection was gone before anything was sent.
    NotSent(FredError),
    /// Sent, and no answer came: it may have been done.
    NoAnswer(FredError),
}

impl CallFailure {
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        translate(operation, self.into_source())
    }

    pub(crate) fn into_source(self) -> FredError {
        match self {
            Self::Refused(source) | Self::NotSent(source) | Self::NoAnswer(source) => source,
        }
    }

    /// Whether the server refused with this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        matches!(self, Self::Refused(source) if code_of(source.details()) == code)
    }

    /// Whether the server refused with these words.
    pub(crate) fn mentions(&self, words: &str) -> bool {
        matches!(self, Self::Refused(source) if source.details().contains(words))
    }

    /// Whether nothing went wrong but that the answer was not there in time.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Self::NoAnswer(source) if *source.kind() == FredKind::Timeout)
    }

    /// Whether the connection cannot be used any more: it broke, or it leads to a server that became a replica.
    pub(crate) fn ends_connection(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::NoAnswer(_) => true,
            Self::Refused(source) => matches!(code_of(source.details()), "READONLY" | "NOAUTH"),
        }
    }
}

/// Makes an error of the client library ours; the original stays reachable as its source.
pub(crate) fn translate(operation: &'static str, source: FredError) -> Error {
    let kind = kind_of(&source);
    // Our own scripts name the key.
    let named = source.details().strip_prefix("WRONGTYPE the key ").map(|rest| format!("the key {rest}"));
    let redirected = matches!(code_of(source.details()), "MOVED" | "ASK")
        .then(|| "the server is one node of a cluster: connect with redis+cluster://".to_owned())
        .or_else(|| source.details().starts_with(WRONG_LANGUAGE).then(|| source.details().to_owned()));
    let message = named.or(redirected).unwrap_or_else(|| summary(kind, &source));
    error(kind, operation, message).caused_by(without_script(source))
}

/// Without the server's note of which script ran into it, which is no user's business.
fn without_script(source: FredError) -> FredError {
    match source.details().find(" script: ") {
        Some(at) => FredError::new(source.kind().clone(), source.details()[..at].trim_end_matches('.').to_owned()),
        None => source,
    }
}

/// Whether credentials or trust were refused.
pub(crate) fn is_auth(source: &FredError) -> bool {
    kind_of(source) == ErrorKind::Auth
}

/// Codes with which Redis begins an error, and what they mean.
const CODES: [(&str, ErrorKind); 20] = [
    ("NOAUTH", ErrorKind::Auth),
    ("WRONGPASS", ErrorKind::Auth),
    ("NOPERM", ErrorKind::PermissionDenied),
    ("WRONGTYPE", ErrorKind::WrongType),
    ("OOM", ErrorKind::Blocked),
    ("MISCONF", ErrorKind::Blocked),
    ("NOREPLICAS", ErrorKind::Blocked),
    ("READONLY", ErrorKind::Blocked),
    ("LOADING", ErrorKind::Unavailable),
    ("MASTERDOWN", ErrorKind::Unavailable),
    ("CLUSTERDOWN", ErrorKind::Unavailable),
    ("TRYAGAIN", ErrorKind::Unavailable),
    ("MOVED", ErrorKind::Unavailable),
    ("ASK", ErrorKind::Unavailable),
    ("BUSY", ErrorKind::Unavailable),
    ("UNBLOCKED", ErrorKind::Unavailable),
    ("NOGROUP", ErrorKind::NotFound),
    ("BUSYGROUP", ErrorKind::Conflict),
    ("NOSCRIPT", ErrorKind::Broker),
    ("EXECABORT", ErrorKind::Broker),
];

/// What errors without a code of their own say, and what that means.
const PHRASES: [(&str, ErrorKind); 12] = [
    ("invalid password", ErrorKind::Auth),
    ("AUTH <password> called without any password configured", ErrorKind::Auth),
    // What Redis 7.0 says without a code to a script.
    ("can't run this command", ErrorKind::PermissionDenied),
    ("can't access at least one of the keys", ErrorKind::PermissionDenied),
    ("max number of clients reached", ErrorKind::Unavailable),
    ("DB index is out of range", ErrorKind::InvalidInput),
    ("SELECT is not allowed in cluster mode", ErrorKind::InvalidInput),
    ("cluster support disabled", ErrorKind::Unsupported),
    ("unknown command", ErrorKind::Unsupported),
    ("unknown subcommand", ErrorKind::Unsupported),
    ("exceeds maximum allowed", ErrorKind::TooLarge),
    ("requires the key to exist", ErrorKind::NotFound),
];

/// The code of an error, also of one that a script ran into.
fn code_of(details: &str) -> &str {
    let word = |text: &'_ str| text.split_whitespace().next().map_or(0, str::len);
    let code = &details[..word(details)];
    if code != "ERR" {
        return code;
    }
    // Redis before 7 wraps what a command in a script answered: `ERR Error running script (...): ...: -CODE text`.
    let inner = details.rsplit(": ").find_map(|part| {
        let part = part.trim_start_matches('-');
        CODES.iter().map(|(code, _)| *code).find(|code| part.split_whitespace().next() == Some(code))
    });
    inner.unwrap_or(code)
}

fn kind_of(source: &FredError) -> ErrorKind {
    let details = source.details();
    let code = code_of(details);
    if let Some((_, kind)) = CODES.iter().find(|(known, _)| *known == code) {
        return *kind;
    }
    if let Some((_, kind)) = PHRASES.iter().find(|(phrase, _)| details.contains(phrase)) {
        return *kind;
    }
    match source.kind() {
        FredKind::Auth => ErrorKind::Auth,
        #[cfg(feature = "tls")]
        FredKind::Tls => ErrorKind::Auth,
        // What a TLS handshake fails with arrives as the text of an input error that wraps it, behind a sentinel of
        // another one.
        FredKind::IO | FredKind::Sentinel | FredKind::Cluster if is_distrust(details) => ErrorKind::Auth,
        FredKind::IO | FredKind::Canceled | FredKind::Routing | FredKind::Cluster | FredKind::Sentinel => {
            ErrorKind::Unavailable
        }
        FredKind::Timeout => ErrorKind::Timeout,
        FredKind::Config | FredKind::Url => ErrorKind::InvalidInput,
        FredKind::Unknown if !details.starts_with("ERR") && !details.starts_with(char::is_uppercase) => {
            // A channel of the client library that closed with the connection.
            ErrorKind::Unavailable
        }
        FredKind::Unknown if details.starts_with("Failed to route") || details.starts_with("Too many failed") => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Broker,
    }
}

/// Whether a failed TLS handshake means that trying again cannot help.
fn is_distrust(details: &str) -> bool {
    ["InvalidCertificate", "AlertReceived", "InvalidMessage", "PeerIncompatible", "PeerMisbehaved", "General("]
        .iter()
        .any(|sign| details.contains(sign))
}

fn summary(kind: ErrorKind, source: &FredError) -> String {
    let why = match kind {
        ErrorKind::Auth if is_distrust(source.details()) => "TLS did not establish trust",
        ErrorKind::Auth => "the credentials were refused",
        ErrorKind::PermissionDenied => "the user is not allowed to",
        ErrorKind::WrongType => "the key is no stream",
        ErrorKind::Blocked => "the server takes no writes for now",
        ErrorKind::Timeout => "no answer in time",
        ErrorKind::Unavailable => "the server is not available",
        ErrorKind::NotFound => "it does not exist",
        ErrorKind::TooLarge => "it is larger than the server allows",
        ErrorKind::Unsupported => "the server cannot do it",
        ErrorKind::InvalidInput => "the settings cannot be used",
        _ => "the server refused",
    };
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn kind(fred_kind: FredKind, details: &'static str) -> ErrorKind {
        translate("test", FredError::new(fred_kind, details)).kind()
    }

    #[test]
    fn errors_of_the_server_have_their_kind() {
        for (details, expected) in [
            ("NOAUTH Authentication required.", ErrorKind::Auth),
            ("WRONGPASS invalid username-password pair or user is disabled.", ErrorKind::Auth),
            ("NOPERM this user has no permissions to run the 'xadd' command", ErrorKind::PermissionDenied),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", ErrorKind::WrongType),
            ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::Blocked),
            ("MISCONF Redis is configured to save RDB snapshots", ErrorKind::Blocked),
            ("READONLY You can't write against a read only replica.", ErrorKind::Blocked),
            ("LOADING Redis is loading the dataset in memory", ErrorKind::Unavailable),
            ("ERR max number of clients reached", ErrorKind::Unavailable),
            ("ERR DB index is out of range", ErrorKind::InvalidInput),
            ("ERR unknown command 'XADD', with args beginning with:", ErrorKind::Unsupported),
            ("ERR The user executing the script can't run this command or subcommand", ErrorKind::PermissionDenied),
            ("ERR string exceeds maximum allowed size (proto-max-bulk-len)", ErrorKind::TooLarge),
            ("ERR syntax error", ErrorKind::Broker),
            ("ERR Error running script (call to f_1): @user_script:3: -OOM command not allowed", ErrorKind::Blocked),
            ("ERR Error running script (call to f_1): @user_script:3: WRONGTYPE Operation", ErrorKind::WrongType),
        ] {
            assert_eq!(kind(FredKind::Unknown, details), expected, "{details}");
        }
    }

    #[test]
    fn errors_of_the_client_have_their_kind() {
        for (fred_kind, details, expected) in [
            (FredKind::IO, "Connection closed.", ErrorKind::Unavailable),
            (FredKind::IO, "Os { code: 111, kind: ConnectionRefused }", ErrorKind::Unavailable),
            (FredKind::IO, "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }", ErrorKind::Auth),
            (FredKind::Sentinel, "Custom { error: InvalidCertificate(UnknownIssuer) }", ErrorKind::Auth),
            (FredKind::Sentinel, "Failed to read the primary", ErrorKind::Unavailable),
            (FredKind::Timeout, "Request timed out.", ErrorKind::Timeout),
            (FredKind::Canceled, "Canceled.", ErrorKind::Unavailable),
            (FredKind::Unknown, "Failed to route command.", ErrorKind::Unavailable),
            (FredKind::Unknown, "channel closed", ErrorKind::Unavailable),
            (FredKind::Protocol, "bad frame", ErrorKind::Broker),
        ] {
            assert_eq!(kind(fred_kind, details), expected, "{details}");
        }
    }

    #[test]
    fn the_cause_stays_reachable_and_is_not_repeated() {
        let error = translate("publish", FredError::new(FredKind::Unknown, "OOM command not allowed"));
        assert_eq!(error.to_string(), "publish on redis: the server takes no writes for now");
        let source = error.source().unwrap().downcast_ref::<FredError>().unwrap();
        assert!(source.details().starts_with("OOM"));
        let error = translate("publish", FredError::new(FredKind::Unknown, "MOVED 3999 127.0.0.1:6381"));
        assert!(error.to_string().contains("redis+cluster://"), "{error}");
        let details = "NOPERM this user has no permissions script: 95f8fa2b, on @user_script:21.";
        let error = translate("ack", FredError::new(FredKind::Unknown, details));
        assert_eq!(error.source().unwrap().to_string(), "Unknown Error: NOPERM this user has no permissions");
        let details = "WRONGTYPE the key {s}.g.retry is a string, not a stream";
        let error = translate("join", FredError::new(FredKind::Unknown, details));
        assert_eq!(error.to_string(), "join on redis: the key {s}.g.retry is a string, not a stream");
    }
}

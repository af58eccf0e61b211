//! The one place where what RabbitMQ and its client library say becomes an error of ours.

use lapin::{Error as LapinError, ErrorKind as LapinKind};
use zephcast_core::{Broker, Error, ErrorKind};

/// An error of this broker while doing `operation`.
pub(crate) fn error(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(kind, operation, message).on(Broker::RabbitMq)
}

pub(crate) fn invalid(operation: &'static str, message: impl Into<String>) -> Error {
    error(ErrorKind::InvalidInput, operation, message)
}

pub(crate) fn closed(operation: &'static str) -> Error {
    error(ErrorKind::Closed, operation, "the client was closed")
}

/// The error of who makes what is missing: what is not there was deleted just now, and is made by the next attempt.
pub(crate) fn unless_deleted(operation: &'static str, error: Error) -> Error {
    match error.kind() {
        // A virtual host is made by nobody here.
        ErrorKind::NotFound if error.advice() != Some(NO_VHOST) => {
            let text = format!("it was deleted meanwhile: {}", error.message());
            self::error(ErrorKind::Unavailable, operation, text).caused_by(error)
        }
        _ => error,
    }
}

/// There is no such stream.
pub(crate) fn missing(operation: &'static str, stream: &str) -> Error {
    error(ErrorKind::NotFound, operation, format!("the stream {stream:?} does not exist"))
}

/// There is no such group.
pub(crate) fn missing_group(operation: &'static str, stream: &str, group: &str) -> Error {
    error(ErrorKind::NotFound, operation, format!("the group {group:?} of the stream {stream:?} does not exist"))
}

/// What to do where a virtual host is missing.
pub(crate) const NO_VHOST: &str =
    "the path of the URL is the virtual host, with `%2f` for `/`; `rabbitmqctl add_vhost` makes one";

/// No answer within the time allowed.
pub(crate) fn late(operation: &'static str) -> Error {
    error(ErrorKind::Timeout, operation, "the server did not answer in time")
}

/// Reply codes of AMQP 0-9-1, as RabbitMQ uses them.
pub(crate) mod code {
    pub(crate) const CONTENT_TOO_LARGE: u16 = 311;
    pub(crate) const CONNECTION_FORCED: u16 = 320;
    pub(crate) const ACCESS_REFUSED: u16 = 403;
    pub(crate) const NOT_FOUND: u16 = 404;
    pub(crate) const RESOURCE_LOCKED: u16 = 405;
    pub(crate) const PRECONDITION_FAILED: u16 = 406;
    pub(crate) const FRAME_ERROR: u16 = 501;
    pub(crate) const COMMAND_INVALID: u16 = 503;
    pub(crate) const RESOURCE_ERROR: u16 = 506;
    pub(crate) const NOT_ALLOWED: u16 = 530;
    pub(crate) const NOT_IMPLEMENTED: u16 = 540;
    pub(crate) const INTERNAL_ERROR: u16 = 541;
}

/// The code and text with which the server closed the channel or the connection.
pub(crate) fn reply(source: &LapinError) -> Option<(u16, &str)> {
    match source.kind() {
        LapinKind::ProtocolError(error) => Some((error.get_id(), error.get_message().as_str())),
        _ => None,
    }
}

/// Whether the server answered with this code.
pub(crate) fn has_code(source: &LapinError, code: u16) -> bool {
    reply(source).is_some_and(|(answered, _)| answered == code)
}

/// The largest message that the server takes, where it closed the channel for a larger one.
pub(crate) fn largest_message(source: &LapinError) -> Option<usize> {
    let (_, text) = reply(source).filter(|(code, _)| *code == code::PRECONDITION_FAILED)?;
    // It says `configured max size` where that is less than any server takes.
    let (_, named) = text.split_once("larger than ")?;
    named.strip_prefix("configured ").unwrap_or(named).strip_prefix("max size ")?.trim().parse().ok()
}

/// The channel was closed because of a message that is too large, and this is another one.
pub(crate) fn beside_too_large(operation: &'static str, source: LapinError) -> Error {
    let text = "the server closed the channel because of another message, which is too large";
    error(ErrorKind::Unavailable, operation, text).caused_by(source)
}

/// In the refusal of a consumer that another one keeps from its queue, or that would have it alone.
pub(crate) const EXCLUSIVE: &str = "in exclusive use";

/// The refusal to make a group of the readers of a stream queue.
pub(crate) fn no_group(operation: &'static str, queue: &str) -> Error {
    let text = format!(
        "the queue {queue:?} is a stream queue, which gives every reader everything and keeps what is acked: bind a quorum \
         queue to the same exchange for the group"
    );
    error(ErrorKind::Unsupported, operation, text)
}

/// Makes an error of the client library ours; the original stays reachable as its source.
pub(crate) fn translate(operation: &'static str, source: LapinError) -> Error {
    let (kind, message) = match reply(&source) {
        Some((code, text)) => (kind_of_reply(code, text), told(text)),
        None => (kind_of(&source), said(&source).to_owned()),
    };
    let is_of_vhost = reply(&source).is_some_and(|(code, _)| code == code::NOT_ALLOWED) && kind == ErrorKind::NotFound;
    let translated = error(kind, operation, message);
    let translated = if is_of_vhost { translated.advise(NO_VHOST) } else { translated };
    translated.caused_by(source)
}

fn kind_of_reply(code: u16, text: &str) -> ErrorKind {
    match code {
        code::CONTENT_TOO_LARGE => ErrorKind::TooLarge,
        code::PRECONDITION_FAILED if text.contains("larger than") || text.contains("max size") => ErrorKind::TooLarge,
        // The consumer timeout, and a tag that is not of this channel: what was held comes again on the next one.
        code::PRECONDITION_FAILED if text.contains("timed out") || text.contains("delivery tag") => {
            ErrorKind::Unavailable
        }
        code::PRECONDITION_FAILED if text.contains("user_id property") => ErrorKind::InvalidInput,
        code::PRECONDITION_FAILED | code::RESOURCE_LOCKED => ErrorKind::Conflict,
        code::ACCESS_REFUSED if text.contains("login") || text.contains("authentication") => ErrorKind::Auth,
        code::ACCESS_REFUSED if text.contains(EXCLUSIVE) => ErrorKind::Conflict,
        code::ACCESS_REFUSED => ErrorKind::PermissionDenied,
        code::NOT_ALLOWED if text.contains("not found") => ErrorKind::NotFound,
        code::NOT_ALLOWED if text.contains("access to vhost") => ErrorKind::PermissionDenied,
        // A limit of connections or of queues in the virtual host.
        code::NOT_ALLOWED if text.contains("limit") => ErrorKind::Unavailable,
        code::NOT_ALLOWED => ErrorKind::Conflict,
        // A queue whose node or leader is away is said to be not found, too.
        code::NOT_FOUND if text.contains("home node") || text.contains("process is stopped") => ErrorKind::Unavailable,
        code::NOT_FOUND => ErrorKind::NotFound,
        code::FRAME_ERROR => ErrorKind::TooLarge,
        code::NOT_IMPLEMENTED | code::COMMAND_INVALID => ErrorKind::Unsupported,
        code::CONNECTION_FORCED | code::RESOURCE_ERROR | code::INTERNAL_ERROR => ErrorKind::Unavailable,
        _ => ErrorKind::Broker,
    }
}

fn kind_of(source: &LapinError) -> ErrorKind {
    match source.kind() {
        LapinKind::IOError(source) if is_distrust(&source.to_string()) => ErrorKind::Auth,
        LapinKind::IOError(_)
        | LapinKind::RuntimeShutdownError(_)
        | LapinKind::InvalidChannel(_)
        | LapinKind::InvalidChannelState(..)
        | LapinKind::InvalidConnectionState(_)
        | LapinKind::ChannelsLimitReached
        | LapinKind::MissingHeartbeatError => ErrorKind::Unavailable,
        LapinKind::AuthProviderError(_) => ErrorKind::Auth,
        LapinKind::SerialisationError(_) => ErrorKind::InvalidInput,
        LapinKind::FutureCompleted | LapinKind::NoDefaultRuntime => ErrorKind::Internal,
        _ => ErrorKind::Broker,
    }
}

fn said(source: &LapinError) -> &'static str {
    match source.kind() {
        LapinKind::IOError(source) if is_distrust(&source.to_string()) => "TLS did not establish trust",
        LapinKind::IOError(_) | LapinKind::RuntimeShutdownError(_) => "the connection broke",
        LapinKind::MissingHeartbeatError => "the server was silent for longer than two heartbeats",
        LapinKind::InvalidChannel(_) | LapinKind::InvalidChannelState(..) | LapinKind::InvalidConnectionState(_) => {
            "the connection was lost"
        }
        LapinKind::ChannelsLimitReached => "the connection has as many channels as the server allows",
        LapinKind::InvalidProtocolVersion(_) => "the server does not speak AMQP 0-9-1",
        LapinKind::ParsingError(_) => "the server's answer was not understood",
        LapinKind::AuthProviderError(_) => "the credentials cannot be used",
        LapinKind::SerialisationError(_) => "the message cannot be written",
        _ => "the client library failed",
    }
}

/// What the server says, without the name of the code before it.
fn told(text: &str) -> String {
    let text = match text.split_once(" - ") {
        Some((code, rest)) if code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') => rest,
        _ => text,
    };
    format!("the server says: {text}")
}

/// Whether a failed TLS handshake means that trying again cannot help.
fn is_distrust(details: &str) -> bool {
    const SIGNS: [&str; 9] = [
        "invalid peer certificate",
        "InvalidCertificate",
        "AlertReceived",
        "received fatal alert",
        "InvalidMessage",
        "corrupt message",
        "PeerIncompatible",
        "peer is incompatible",
        "peer misbehaved",
    ];
    SIGNS.iter().any(|sign| details.contains(sign))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use lapin::protocol::AMQPError;

    use super::*;

    #[test]
    fn what_is_made_again_was_deleted_and_a_virtual_host_is_not() {
        let deleted = unless_deleted("join", missing("join", "orders"));
        assert_eq!(deleted.kind(), ErrorKind::Unavailable);
        assert!(deleted.message().contains("orders"), "{deleted}");
        let no_vhost = error(ErrorKind::NotFound, "join", "no such virtual host").advise(NO_VHOST);
        assert_eq!(unless_deleted("join", no_vhost).kind(), ErrorKind::NotFound);
        assert_eq!(unless_deleted("join", late("join")).kind(), ErrorKind::Timeout);
    }

    fn replied(code: u16, text: &str) -> Error {
        let error = AMQPError::from_id(code, text.into()).expect("a code of AMQP");
        translate("test", LapinKind::ProtocolError(error).into())
    }

    #[test]
    fn replies_have_their_kind() {
        for (code, text, expected) in [
            (403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", ErrorKind::Auth),
            (403, "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused", ErrorKind::PermissionDenied),
            (404, "NOT_FOUND - no queue 'q' in vhost '/'", ErrorKind::NotFound),
            (404, "NOT_FOUND - home node 'r@h' of durable queue 'q' is down", ErrorKind::Unavailable),
            (405, "RESOURCE_LOCKED - cannot obtain exclusive access", ErrorKind::Conflict),
            (406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x'", ErrorKind::Conflict),
            (406, "PRECONDITION_FAILED - unknown delivery tag 7", ErrorKind::Unavailable),
            (406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out", ErrorKind::Unavailable),
            (406, "PRECONDITION_FAILED - message size 9 is larger than configured max size 8", ErrorKind::TooLarge),
            (
                406,
                "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
                ErrorKind::InvalidInput,
            ),
            (320, "CONNECTION_FORCED - broker forced connection closure", ErrorKind::Unavailable),
            (501, "FRAME_ERROR - type 2, all octets = <<>>: {frame_too_large,9,8}", ErrorKind::TooLarge),
            (530, "NOT_ALLOWED - vhost x not found", ErrorKind::NotFound),
            (530, "NOT_ALLOWED - access to vhost 'x' refused for user 'u'", ErrorKind::PermissionDenied),
            (540, "NOT_IMPLEMENTED - active=false", ErrorKind::Unsupported),
            (541, "INTERNAL_ERROR", ErrorKind::Unavailable),
        ] {
            assert_eq!(replied(code, text).kind(), expected, "{text}");
        }
    }

    #[test]
    fn the_largest_message_is_read_however_it_is_named() {
        let largest = |code, text: &str| {
            let error = AMQPError::from_id(code, text.into()).expect("a code of AMQP");
            largest_message(&LapinKind::ProtocolError(error).into())
        };
        for text in [
            "PRECONDITION_FAILED - message size 9 is larger than configured max size 8",
            "PRECONDITION_FAILED - message size 9 is larger than max size 8",
            "PRECONDITION_FAILED - message size 9 larger than configured max size 8",
        ] {
            assert_eq!(largest(406, text), Some(8), "{text}");
        }
        assert_eq!(largest(406, "PRECONDITION_FAILED - unknown delivery tag 8"), None);
        assert_eq!(largest(406, "PRECONDITION_FAILED - value 9 is larger than 8"), None);
    }

    #[test]
    fn what_to_do_is_said_of_a_virtual_host_and_not_of_streams() {
        assert_eq!(replied(530, "NOT_ALLOWED - vhost x not found").advice(), Some(NO_VHOST));
        assert_eq!(replied(404, "NOT_FOUND - no exchange 'x' in vhost '/'").advice(), None);
        assert_eq!(replied(530, "NOT_ALLOWED - access to vhost 'x' refused for user 'u'").advice(), None);
    }

    #[test]
    fn errors_of_the_client_have_their_kind() {
        let broken = |text: &'static str| translate("test", io::Error::other(text).into()).kind();
        assert_eq!(broken("connection reset by peer"), ErrorKind::Unavailable);
        assert_eq!(broken("invalid peer certificate: UnknownIssuer"), ErrorKind::Auth);
        assert_eq!(translate("test", LapinKind::MissingHeartbeatError.into()).kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn the_cause_stays_reachable_and_the_servers_words_are_shown_once() {
        let error = replied(404, "NOT_FOUND - no queue 'q' in vhost '/'");
        assert_eq!(error.to_string(), "test on rabbitmq: the server says: no queue 'q' in vhost '/'");
        assert!(error.source().expect("a cause").downcast_ref::<LapinError>().is_some());
    }
}

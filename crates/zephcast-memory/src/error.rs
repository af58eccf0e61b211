//! Every error of this driver is made here.

use zephcast_core::{Broker, Error, ErrorKind, GroupName, StreamName};

/// An error of this broker while doing `operation`.
pub(crate) fn error(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(kind, operation, message).on(Broker::Memory)
}

pub(crate) fn invalid(operation: &'static str, message: impl Into<String>) -> Error {
    error(ErrorKind::InvalidInput, operation, message)
}

pub(crate) fn no_stream(operation: &'static str, stream: &StreamName) -> Error {
    error(ErrorKind::NotFound, operation, format!("the stream {stream:?} does not exist"))
}

pub(crate) fn no_group(operation: &'static str, stream: &StreamName, group: &GroupName) -> Error {
    error(ErrorKind::NotFound, operation, format!("the stream {stream:?} has no group {group:?}"))
}

pub(crate) fn closed(operation: &'static str) -> Error {
    error(ErrorKind::Closed, operation, "the client was closed")
}

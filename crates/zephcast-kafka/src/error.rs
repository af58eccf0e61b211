//! The one place where what Kafka and its client library say becomes an error of ours.

mod failure;
mod meaning;
mod telling;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use zephcast_core::{Broker, Error, ErrorKind};

pub(crate) use self::failure::{Failure, code_of};
pub(crate) use self::meaning::kind_of;
pub(crate) use self::telling::{Told, told};

/// An error of this broker while doing `operation`.
pub(crate) fn error(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(kind, operation, message).on(Broker::Kafka)
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

/// Makes an error of the client library ours; the original stays reachable as its source.
pub(crate) fn translate(operation: &'static str, source: KafkaError) -> Error {
    match source {
        // The library repeats the value, which may be a secret, so neither it nor this error is kept.
        KafkaError::ClientConfig(_, _, name, _) => {
            invalid(operation, format!("the client library refuses its property {name:?}"))
        }
        KafkaError::ClientCreation(why) => {
            invalid(operation, format!("the settings cannot be used: {}", one_line(&why)))
        }
        KafkaError::Nul(_) => invalid(operation, "a text contains a zero byte"),
        KafkaError::Canceled => closed(operation),
        source => {
            let code = library_code(&source);
            let (kind, message) = code.map_or((ErrorKind::Broker, "the client library failed"), meaning::meaning);
            error(kind, operation, message).caused_by(source)
        }
    }
}

/// The code of an error, also of one that the client library itself leaves out.
fn library_code(source: &KafkaError) -> Option<Code> {
    match source {
        KafkaError::Transaction(error) => Some(error.code()),
        KafkaError::ConsumerQueueClose(code) | KafkaError::MockCluster(code) => Some(*code),
        source => source.rdkafka_error_code(),
    }
}

/// The library's texts without line ends and doubled blanks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;

//! What a broker refused a single question with.

use std::error::Error as StdError;
use std::fmt;

use rdkafka::error::RDKafkaErrorCode as Code;
use zephcast_core::Error;

use super::{error, meaning::meaning};

/// A refusal in the words of the broker or of its client library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    text: String,
}

impl Failure {
    pub(crate) fn new(code: Code, text: String) -> Self {
        Self { code, text }
    }

    /// Makes it an error of ours; it stays reachable as its source.
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        let (kind, means) = meaning(self.code);
        // What the library says of every error of this code tells less.
        let is_general = self.text.is_empty() || ["Broker: ", "Local: "].iter().any(|of| self.text.contains(of));
        let message = if is_general { means.to_owned() } else { self.text.clone() };
        error(kind, operation, message).caused_by(self)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            "" => self.code.fmt(f),
            text => f.write_str(text),
        }
    }
}

impl StdError for Failure {}

/// The code behind an error, when the broker or its client library refused.
pub(crate) fn code_of(error: &Error) -> Option<Code> {
    error.source()?.downcast_ref::<Failure>().map(|failure| failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_own_words_are_kept_and_general_ones_replaced() {
        let own = Failure::new(Code::InvalidReplicationFactor, "Unable to replicate 3 times: 1 broker".into());
        assert_eq!(own.into_error("create").to_string(), "create on kafka: Unable to replicate 3 times: 1 broker");
        for text in
            ["", "Broker: Group authorization failed", "OFFSETS worker failed: Broker: Group authorization failed"]
        {
            let general = Failure::new(Code::GroupAuthorizationFailed, text.into()).into_error("join");
            assert!(general.to_string().contains("not allowed to use the group"), "{general}");
            assert_eq!(code_of(&general), Some(Code::GroupAuthorizationFailed));
        }
    }
}

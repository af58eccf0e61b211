//! What the library calls back about messages.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock, Weak};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;

use super::desk::{Answer, Desk};
use super::epoch::Epoch;
use crate::context::Context;
use crate::native::producer::may_be_stored;

pub(super) struct Reports {
    context: Context,
    pub(super) desk: Arc<Desk>,
    /// Whose reports they are.
    epoch: OnceLock<Weak<Epoch>>,
}

impl Reports {
    pub(super) fn new(context: Context) -> Self {
        Self { context, desk: Arc::default(), epoch: OnceLock::new() }
    }

    pub(super) fn belong_to(&self, epoch: &Arc<Epoch>) {
        // Once, by whoever made it.
        let _ = self.epoch.set(Arc::downgrade(epoch));
    }

    /// What was given to the library after a message that it did not send in time goes back with it: sent when the broker
    /// is there again, it would overtake that message.
    fn give_back(&self) {
        if let Some(epoch) = self.epoch.get().and_then(Weak::upgrade) {
            epoch.native.give_back();
        }
    }
}

impl ProducerContext for Reports {
    /// The number by which the desk knows the message.
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, tag: usize) {
        let answer = match report {
            Ok(message) => Answer::Stored { partition: message.partition(), offset: message.offset() },
            Err((error, message)) => Answer::Refused {
                code: error.rdkafka_error_code().map_or(Code::Fail, code_of_message),
                may_be_stored: may_be_stored(message),
            },
        };
        if answer == (Answer::Refused { code: Code::MessageTimedOut, may_be_stored: false }) {
            self.give_back();
        }
        self.desk.answer(tag, answer);
    }
}

/// A message that ends with its partition's handle was for a topic that was deleted (`rd_kafka_toppar_destroy_final`,
/// librdkafka 2.12): producers that close give their messages back before.
fn code_of_message(code: Code) -> Code {
    if code == Code::BrokerDestroy { Code::UnknownPartition } else { code }
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        self.context.generate_oauth_token(config)
    }
}

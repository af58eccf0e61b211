//! The thread that serves a client of the library.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};
use zephcast_core::{ErrorKind, Result};

use super::CONNECT;
use crate::KafkaConfig;
use crate::context::Context;
use crate::error::{error, translate};
use crate::native::{Client, Library};

/// How often the thread looks whether it is the last to need the client.
const SLICE: Duration = Duration::from_millis(100);
/// How long it looks for brokers when nobody answered.
const FIND: Duration = Duration::from_secs(1);

/// Hears what a client says outside of calls that is for looking only. It has a group, since the library does without one
/// neither for assigning partitions nor, safely, for asking where groups are; it never joins it and commits nothing.
pub(crate) struct Watcher(pub(super) Context);

impl ClientContext for Watcher {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The group that it has is not needed.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
            self.0.error(error, reason);
        }
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        self.0.generate_oauth_token(config)
    }
}

impl ConsumerContext for Watcher {}

/// A client for looking only.
pub(crate) fn looking(mut settings: ClientConfig, watcher: Watcher) -> Result<BaseConsumer<Watcher>, KafkaError> {
    settings
        .set("group.id", "zephcast-looks")
        .set("client.id", "zephcast-looks")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    settings.create_with_context(watcher)
}

/// Makes a client and the thread that serves it. The thread ends when it is the last to have the client, and drops it:
/// that takes until the client's own threads have ended, for which nobody else should wait. Nothing joins it.
pub(super) fn start(config: &KafkaConfig, context: Context) -> Result<Library> {
    let client = looking(config.client_config(), Watcher(context)).map_err(|error| translate(CONNECT, error))?;
    let client = Arc::new(Client::new(client));
    let served = client.clone();
    let thread = std::thread::Builder::new().name("zephcast-kafka-admin".into()).spawn(move || {
        while Arc::strong_count(&served) > 1 {
            // Whatever it says was heard on the way, and there are no messages.
            drop(served.consumer.poll(SLICE));
            served.find_brokers(FIND);
        }
    });
    match thread {
        Ok(_) => Ok(client),
        Err(cause) => Err(error(ErrorKind::Unavailable, CONNECT, "the system gives no thread").caused_by(cause)),
    }
}

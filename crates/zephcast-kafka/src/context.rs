//! What every client of the library tells us outside of calls: errors, logs, and when it needs a token.

mod trouble;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use secrecy::{ExposeSecret, SecretString};

pub(crate) use self::trouble::Trouble;
use crate::config::{KafkaConfig, TokenProvider};
use crate::error::{Told, told};

/// Where what the library says goes in `tracing`.
const TARGET: &str = "librdkafka";
const OPERATION: &str = "connect";

/// What a client of the library calls back.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) trouble: Trouble,
    tokens: Option<TokenProvider>,
    /// Never shown, whatever the library writes.
    secrets: Arc<[SecretString]>,
}

impl Context {
    pub(crate) fn new(config: &KafkaConfig) -> Self {
        let secrets = config.secrets().filter(|secret| !secret.is_empty()).map(SecretString::from);
        Self { trouble: Trouble::default(), tokens: config.tokens().cloned(), secrets: secrets.collect() }
    }

    fn without_secrets(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| without(&text, secret.expose_secret()))
    }
}

/// The text with stars for the secret. A short one is looked for as a word of its own: who sees which letters are missing from
/// other words knows it.
fn without(text: &str, secret: &str) -> String {
    const SHORT: usize = 8;
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(secret) {
        let (before, after) = (&rest[..at], &rest[at + secret.len()..]);
        let is_of_word = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        let last = before.chars().next_back().or_else(|| clean.chars().next_back());
        let is_part = secret.len() < SHORT && (is_of_word(last) || is_of_word(after.chars().next()));
        clean.push_str(before);
        clean.push_str(if is_part { secret } else { "***" });
        rest = after;
    }
    clean + rest
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.without_secrets(message);
        // Why a connection ended is told as an error only where the library takes it seriously enough.
        if facility == "FAIL"
            && let suspicion @ Told::Suspect(_) = told(OPERATION, Code::BrokerTransportFailure, &message)
        {
            self.trouble.hear(suspicion);
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(target: TARGET, facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::trace!(target: TARGET, facility, "{message}"),
            _ => tracing::debug!(target: TARGET, facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.without_secrets(reason);
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        // These are about one topic or group, and are told to whoever asked for that.
        if !matches!(code, Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed) {
            self.trouble.hear(told(OPERATION, code, &reason));
        }
    }

    /// Nobody reads them.
    fn stats_raw(&self, _: &[u8]) {}

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        let provider = self.tokens.as_ref().ok_or("there is no token provider")?;
        // The library takes the text as a C string.
        let token = provider.provide().map_err(|error| error.to_string().replace('\0', " "))?;
        Ok(OAuthToken {
            token: token.token.expose_secret().to_owned(),
            principal_name: token.principal,
            lifetime_ms: milliseconds(token.expires),
        })
    }
}

/// For consumers that are in no group.
impl ConsumerContext for Context {}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

//! Who is there, and whom to trust.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};
use zephcast_core::Result;

use super::{KafkaConfig, unsupported};
use crate::error::invalid;

/// How a user proves who he is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sasl {
    /// The password itself, `PLAIN`. By TLS only.
    Plain,
    /// SCRAM with SHA-256, `SCRAM-SHA-256`.
    ScramSha256,
    /// SCRAM with SHA-512, `SCRAM-SHA-512`. The password is not sent. Without TLS whoever listens can still try
    /// passwords against what is sent, and read and change all messages.
    #[default]
    ScramSha512,
    /// Tokens, `OAUTHBEARER`, see [`KafkaConfig::token_provider`]. By TLS only.
    OauthBearer,
}

impl Sasl {
    const ALL: [Self; 4] = [Self::Plain, Self::ScramSha256, Self::ScramSha512, Self::OauthBearer];

    /// What Kafka calls it.
    pub(crate) fn mechanism(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// By what Kafka calls it, in any case.
    pub(crate) fn of(operation: &'static str, mechanism: &str) -> Result<Self> {
        if mechanism.eq_ignore_ascii_case("GSSAPI") {
            return Err(unsupported(operation, "GSSAPI (Kerberos) is not built in; use SCRAM, PLAIN or OAUTHBEARER"));
        }
        let found = Self::ALL.into_iter().find(|sasl| sasl.mechanism().eq_ignore_ascii_case(mechanism));
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::mechanism).join(", ");
            invalid(operation, format!("this is no SASL mechanism; known: {known}"))
        })
    }
}

/// A token to log in with, and until when it is good.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OauthToken {
    /// The token as the broker takes it, usually a JWT.
    pub token: SecretString,
    /// When it ends.
    pub expires: SystemTime,
    /// Whose it is. See [`principal`](Self::principal).
    pub principal: String,
}

impl OauthToken {
    /// A token that is good until then.
    #[must_use]
    pub fn new(token: impl Into<SecretString>, expires: SystemTime) -> Self {
        Self { token: token.into(), expires, principal: String::new() }
    }

    /// The name of its owner, for logs: the broker takes it from the token itself. Default empty.
    #[must_use]
    pub fn principal(mut self, name: impl Into<String>) -> Self {
        self.principal = name.into();
        self
    }
}

type Provide = dyn Fn() -> Result<OauthToken, Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

/// What gives tokens.
#[derive(Clone)]
pub(crate) struct TokenProvider(Arc<Provide>);

impl TokenProvider {
    pub(crate) fn new<F>(provide: F) -> Self
    where
        F: Fn() -> Result<OauthToken, Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    {
        Self(Arc::new(provide))
    }

    pub(crate) fn provide(&self) -> Result<OauthToken, Box<dyn std::error::Error + Send + Sync>> {
        (self.0)()
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenProvider")
    }
}

impl KafkaConfig {
    /// How to log in, if at all.
    pub(crate) fn mechanism(&self) -> Option<Sasl> {
        let by_what_is_there = match (&self.user, &self.tokens) {
            (Some(_), _) => Some(Sasl::default()),
            (None, Some(_)) => Some(Sasl::OauthBearer),
            (None, None) => None,
        };
        by_what_is_there.map(|usual| self.sasl.unwrap_or(usual))
    }

    /// Whether the files that the settings name can be read: the client library does not say which one it could not.
    ///
    /// # Errors
    /// `InvalidInput`, naming the file.
    pub(crate) fn validate_files(&self, operation: &'static str) -> Result<()> {
        let tls = self.tls.iter();
        let identity = tls.clone().filter_map(|tls| tls.identity.as_ref());
        for file in tls.filter_map(|tls| tls.ca.as_ref()).chain(identity.flat_map(|(chain, key)| [chain, key])) {
            if let Err(why) = std::fs::File::open(file) {
                return Err(invalid(operation, format!("{} cannot be read", file.display())).caused_by(why));
            }
        }
        Ok(())
    }

    pub(super) fn validate_security(&self, operation: &'static str) -> Result<()> {
        let refuse = |why: &str| Err(invalid(operation, why));
        let user = self.user.is_some();
        match (user, &self.tokens, self.sasl) {
            (false, _, _) if self.password.is_some() => return refuse("a password needs a user"),
            (true, Some(_), _) => return refuse("a user has a password, or there is a token provider, not both"),
            (_, None, Some(Sasl::OauthBearer)) => return refuse("OAUTHBEARER needs a token provider"),
            (false, Some(_), Some(sasl)) if sasl != Sasl::OauthBearer => {
                return refuse("a token provider is for OAUTHBEARER alone");
            }
            (false, None, Some(_)) => return refuse("a SASL mechanism needs a user"),
            _ => {}
        }
        let has_password = self.password.as_ref().is_some_and(|password| !password.expose_secret().is_empty());
        if user && (!has_password || self.user.as_deref() == Some("")) {
            return refuse("a user has a name and a password: Kafka takes no empty ones");
        }
        let mechanism = self.mechanism();
        if self.tls.is_none() && mechanism == Some(Sasl::Plain) {
            return refuse(
                "PLAIN would send the password in clear text: use kafka+ssl://, or SCRAM, which does not send it",
            );
        }
        if self.tls.is_none() && mechanism == Some(Sasl::OauthBearer) {
            return refuse("OAUTHBEARER would send the token in clear text: use TLS");
        }
        if cfg!(not(feature = "ssl")) && (self.tls.is_some() || mechanism.is_some()) {
            return Err(unsupported(operation, "TLS and SASL need the cargo feature `ssl` of zephcast-kafka"));
        }
        Ok(())
    }
}

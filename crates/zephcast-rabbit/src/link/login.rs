//! How a connection logs in.

use lapin::auth::AuthProvider;
use lapin::types::{LongString, ShortString};
use secrecy::{ExposeSecret, SecretString};
use zephcast_core::Result;

use crate::config::Credentials;
use crate::error::invalid;

/// What is shown to the server.
pub(super) enum Login {
    Plain { user: String, password: SecretString },
    Certificate,
}

impl Login {
    pub(super) fn new(credentials: &Credentials) -> Result<Self> {
        let (user, password) = match credentials {
            Credentials::Certificate => return Ok(Self::Certificate),
            Credentials::Password { user, password } => (user.clone(), password.clone()),
            Credentials::Provider(provider) => provider()?,
        };
        if user.contains('\0') || password.expose_secret().contains('\0') {
            return Err(invalid("connect", "user and password cannot contain a NUL"));
        }
        Ok(Self::Plain { user, password })
    }
}

impl AuthProvider for Login {
    fn mechanism(&self) -> ShortString {
        match self {
            Self::Plain { .. } => "PLAIN".into(),
            Self::Certificate => "EXTERNAL".into(),
        }
    }

    fn auth_starter(&self) -> std::result::Result<LongString, String> {
        Ok(match self {
            Self::Plain { user, password } => format!("\0{user}\0{}", password.expose_secret()).into(),
            Self::Certificate => LongString::default(),
        })
    }
}

//! Who logs in.

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;
use zephcast_core::Result;

/// Who logs in, and how.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A user and a password, by PLAIN.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// The certificate that the client shows in its TLS handshake, by EXTERNAL. The management API takes none: its URL
    /// needs a user and a password of its own.
    Certificate,
    /// A user and a password, asked for at each connection, so that they can change while the client runs, and at each
    /// question to a management API whose URL has no user. An error is told as it is; a retryable one lets the connection
    /// be tried again.
    Provider(Arc<dyn Fn() -> Result<(String, SecretString)> + Send + Sync>),
}

/// Shows who, never a password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "{user}:***"),
            Self::Certificate => f.write_str("the client's certificate"),
            Self::Provider(_) => f.write_str("asked for at each connection"),
        }
    }
}

//! Whom to trust, and as whom to appear.

use std::path::PathBuf;

use crate::endpoint::invalid;
use crate::{Endpoint, Result};

/// TLS, always verified: the server's certificate must be valid for the host's name. Trusts the system's roots, or the
/// given ones instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// A PEM file with the roots to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files with the client's certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// The keys of a URL that [`from_endpoint`](Self::from_endpoint) reads.
    pub const KEYS: [&str; 3] = ["tls-ca", "tls-cert", "tls-key"];

    /// Trusts the system's roots, shows no certificate of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a URL says: `tls-ca`, and `tls-cert` with `tls-key`, each the path of a PEM file.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a certificate without its key, or a key without one.
    pub fn from_endpoint(endpoint: &Endpoint) -> Result<Self> {
        let [ca, chain, key] = Self::KEYS.map(|key| endpoint.query(key).map(PathBuf::from));
        match (chain, key) {
            (Some(chain), Some(key)) => Ok(Self { ca, identity: Some((chain, key)) }),
            (None, None) => Ok(Self { ca, identity: None }),
            _ => Err(invalid("`tls-cert` and `tls-key` stand together")),
        }
    }

    /// Trusts the roots of this PEM file instead of the system's.
    #[must_use]
    pub fn ca(mut self, pem: impl Into<PathBuf>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// Shows this certificate to the server: PEM files with the chain and its key. On Kafka a key that is encrypted needs
    /// the property `ssl.key.password`.
    #[must_use]
    pub fn identity(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }
}

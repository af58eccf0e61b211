//! TLS by rustls with ring, always verified.

use std::path::Path;

use fred::error::{Error as FredError, ErrorKind as FredKind};
use fred::types::config::{TlsConfig, TlsConnector, TlsHostMapping};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zephcast_core::Tls;

/// What the client library connects with.
pub(crate) fn connector(tls: &Tls) -> Result<TlsConfig, FredError> {
    // Named here, so that no other crate's choice of a default matters.
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error.to_string()))?
        .with_root_certificates(roots(tls.ca.as_deref())?);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error.to_string()))?;
            builder.with_client_auth_cert(certificates(chain)?, key).map_err(|error| unusable(&error.to_string()))?
        }
    };
    // A cluster announces its nodes by address; their certificates are for the name that was connected to.
    Ok(TlsConfig { connector: TlsConnector::from(config), hostnames: TlsHostMapping::DefaultHost })
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, FredError> {
    let mut store = RootCertStore::empty();
    match ca {
        Some(path) => {
            for root in certificates(path)? {
                store.add(root).map_err(|error| unreadable(path, &error.to_string()))?;
            }
        }
        None => {
            // A root of the system that cannot be read is no root; without any, nothing is trusted.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        return Err(unusable("there is no root certificate to trust; name one with `tls-ca`"));
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FredError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| unreadable(path, &error.to_string()))
}

fn unreadable(path: &Path, why: &str) -> FredError {
    unusable(&format!("{}: {why}", path.display()))
}

fn unusable(why: &str) -> FredError {
    FredError::new(FredKind::Config, format!("TLS: {why}"))
}

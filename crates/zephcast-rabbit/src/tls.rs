//! TLS by rustls with ring, always verified.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zephcast_core::{Result, Tls};

use crate::error::invalid;

const OPERATION: &str = "read TLS files";

/// Whom a connection trusts, and as whom it appears.
///
/// # Errors
/// `InvalidInput` naming the file that cannot be read or used.
pub(crate) fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>> {
    // Named here, so that no other crate's choice of a default matters.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(OPERATION, error.to_string()))?
        .with_root_certificates(roots(tls.ca.as_deref())?);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let read = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
            builder.with_client_auth_cert(certificates(chain)?, read).map_err(|error| unusable(key, &error))?
        }
    };
    Ok(Arc::new(config))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match ca {
        Some(path) => {
            for root in certificates(path)? {
                store.add(root).map_err(|error| unusable(path, &error))?;
            }
        }
        None => {
            // A root of the system that cannot be read is no root; without any, nothing is trusted.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    match store.is_empty() {
        false => Ok(store),
        true => Err(invalid(OPERATION, "the system has no root certificate to trust; name a file with `tls-ca`")),
    }
}

/// At least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unusable(path, &error))?;
    match read.is_empty() {
        false => Ok(read),
        true => Err(unusable(path, &"there is no certificate in it")),
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> zephcast_core::Error {
    invalid(OPERATION, format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use integration_tests::certificates::{Authority, LOOPBACK, Validity};
    use zephcast_core::ErrorKind;

    use super::*;

    #[test]
    fn good_files_make_a_configuration() {
        let authority = Authority::new().unwrap();
        let mine = authority.issue("client", LOOPBACK, Validity::Good).unwrap();
        let tls = Tls::new().ca(mine.authority()).identity(mine.chain(), mine.key());
        assert!(client_config(&tls).unwrap().client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let authority = Authority::new().unwrap();
        let mine = authority.issue("client", LOOPBACK, Validity::Good).unwrap();
        let other = authority.issue("other", LOOPBACK, Validity::Good).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.pem");
        fs::write(&empty, "nothing\n").unwrap();
        let good = Tls::new().ca(mine.authority());
        for (tls, named) in [
            (Tls::new().ca("/missing/ca.pem"), "/missing/ca.pem"),
            (Tls::new().ca(&empty), "empty.pem"),
            (good.clone().identity("/missing/chain.pem", mine.key()), "/missing/chain.pem"),
            (good.clone().identity(mine.chain(), "/missing/key.pem"), "/missing/key.pem"),
            (good.clone().identity(mine.chain(), &empty), "empty.pem"),
            (good.identity(mine.chain(), other.key()), "other.key"),
        ] {
            let error = client_config(&tls).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(named), "{error}");
        }
    }
}

//! Certificates that do not do: each refusal names its reason, at once, and tells no secret.

use std::error::Error as _;
use std::path::Path;

use zephcast_redis::{Error, Tls};

use crate::prelude::*;
use crate::server::free_port;
use crate::setups::{certificates, certificates_for, everything_works};

const PASSWORD: &str = "canary";

/// A server with TLS alone; its certificate is `NAME-server.crt`, and `clients` says whether it wants to see theirs.
fn start(directory: &Path, name: &str, clients: &str) -> (Server, u16) {
    let file = |rest: &str| directory.join(format!("{name}{rest}")).to_str().expect("UTF-8").to_owned();
    let port = free_port();
    let options = ["--tls-port", &port.to_string(), "--tls-auth-clients", clients, "--requirepass", PASSWORD];
    let files = [
        "--tls-cert-file",
        &file("-server.crt"),
        "--tls-key-file",
        &file("-server.key"),
        "--tls-ca-cert-file",
        &file(".crt"),
    ];
    (Server::own(&[&options[..], &files].concat()), port)
}

fn config(port: u16, tls: Tls) -> RedisConfig {
    RedisConfig::new("127.0.0.1", port).tls(tls).password(PASSWORD).connect_timeout(Duration::from_secs(5))
}

/// Everything that the error and its causes say.
fn said(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

async fn refused(config: RedisConfig, reason: &str) {
    let began = Instant::now();
    let error = RedisDriver::connect(config).await.expect_err("no trust");
    assert!(began.elapsed() < Duration::from_secs(3), "at once, not after {:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
    let said = said(&error);
    assert!(said.contains(reason), "{reason} is not named: {said}");
    assert!(!said.contains(PASSWORD) && !said.contains("PRIVATE"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expired_is_refused_as_such() {
    let directory = tempfile::tempdir().unwrap();
    // Valid until the end of the second in which it was made.
    certificates_for(directory.path(), "expired", "IP:127.0.0.1", "0");
    let (_server, port) = start(directory.path(), "expired", "no");
    let config = || config(port, Tls::new().ca(directory.path().join("expired.crt")));
    let until = Instant::now() + Duration::from_secs(5);
    while RedisDriver::connect(config()).await.is_ok() {
        assert!(Instant::now() < until, "it never expires");
    }
    refused(config(), "Expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_certificates_gets_them_and_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    certificates(path, "mutual", "IP:127.0.0.1");
    certificates(path, "stranger", "IP:127.0.0.1");
    let (server, port) = start(path, "mutual", "yes");
    let trusting = || Tls::new().ca(path.join("mutual.crt"));
    let shown = |name: &str| {
        trusting().identity(path.join(format!("{name}-server.crt")), path.join(format!("{name}-server.key")))
    };
    everything_works(config(port, shown("mutual"))).await;
    refused(config(port, trusting()), "CertificateRequired").await;
    refused(config(port, shown("stranger")), "UnknownCA").await;

    // A key that is no key is a setting that cannot be used, and is not shown.
    let key = path.join("mutual-server.crt");
    let error = RedisDriver::connect(config(port, trusting().identity(path.join("mutual-server.crt"), &key))).await;
    let error = error.expect_err("no key");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(said(&error).contains(key.to_str().unwrap()), "{error:?}");
    // Nobody was let in who should not be.
    assert!(server.cli(&["-a", PASSWORD, "CLIENT", "LIST"]).lines().count() <= 3);
}

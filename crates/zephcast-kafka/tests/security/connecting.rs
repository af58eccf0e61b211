//! Connecting with the wrong password, mechanism, certificate or port.

use std::time::Duration;

use integration_tests::certificates::{Authority, LOOPBACK, Validity};
use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};
use zephcast_core::driver::Driver;
use zephcast_kafka::{ErrorKind, Sasl, Tls};

use crate::lab::{self, PASSWORD, WRONG, at, refused};

/// What the broker says outright.
const AT_ONCE: Duration = Duration::from_secs(3);
/// What is only believed when it happened several times.
const SOON: Duration = Duration::from_secs(6);

const ELSEWHERE: &[&str] = &["DNS:other.example"];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_connection_is_told_at_once() {
    let authority = Authority::new().unwrap();
    let stranger = Authority::new().unwrap();
    let good = authority.issue("good", LOOPBACK, Validity::Good).unwrap();
    let expired = authority.issue("expired", LOOPBACK, Validity::Expired).unwrap();
    let elsewhere = authority.issue("elsewhere", ELSEWHERE, Validity::Good).unwrap();
    let client = authority.issue("client", &[], Validity::Good).unwrap();
    let foreign = stranger.issue("client", &[], Validity::Good).unwrap();

    let options = KafkaOptions::default().user("app", PASSWORD).certificate(&good);
    let options = options.property("listener.name.ssl.ssl.client.auth", "required");
    let mechanisms = "listener.name.sasl_ssl.sasl.enabled.mechanisms";
    let server = KafkaServer::start(options.property(mechanisms, "PLAIN,SCRAM-SHA-256")).await.unwrap();
    let options = KafkaOptions::default().user("app", PASSWORD).certificate(&expired);
    let keys = elsewhere.chain_and_key().display().to_string();
    let keystore = "listener.name.sasl_ssl.ssl.keystore.location";
    let untrusted = KafkaServer::start(options.property(keystore, &keys)).await.unwrap();

    let tls = || Tls::new().ca(authority.certificate());
    let shown = || tls().identity(client.chain(), client.key());
    let sasl = || at(&server, Listener::Sasl).user("app");
    let both = || at(&server, Listener::SaslTls).user("app").password(PASSWORD);
    let auth = ErrorKind::Auth;

    let credentials = "the credentials were refused";
    refused("a wrong password", sasl().password(WRONG), AT_ONCE, auth, credentials).await;
    refused("a wrong user", sasl().password(PASSWORD).user("nobody"), AT_ONCE, auth, credentials).await;
    let plain = both().tls(tls()).sasl(Sasl::Plain);
    refused("a wrong plain password", plain.clone().password(WRONG), AT_ONCE, auth, credentials).await;
    refused("a mechanism that is off", both().tls(tls()), AT_ONCE, auth, "but PLAIN,SCRAM-SHA-256").await;

    let certificate = "certificate is not trusted";
    refused(
        "an unknown authority",
        plain.clone().tls(Tls::new().ca(stranger.certificate())),
        AT_ONCE,
        auth,
        certificate,
    )
    .await;
    refused("the system's authorities", plain.clone().tls(Tls::new()), AT_ONCE, auth, certificate).await;
    let late = at(&untrusted, Listener::Tls).tls(tls());
    refused("an expired certificate", late, AT_ONCE, auth, "expired").await;
    let misnamed = at(&untrusted, Listener::SaslTls).user("app").password(PASSWORD).tls(tls());
    refused("another host's certificate", misnamed, AT_ONCE, auth, "not valid for this host's name").await;
    let unknown = at(&server, Listener::Tls).tls(tls());
    refused("no certificate of the client", unknown.clone(), AT_ONCE, auth, "asks for one and got none").await;
    let strange = unknown.clone().tls(tls().identity(foreign.chain(), foreign.key()));
    refused("a client's certificate of a stranger", strange, AT_ONCE, auth, "does not take the client's").await;

    let ends = "the broker ends the connection";
    refused("TLS at a plain port", at(&server, Listener::Plain).tls(tls()), SOON, auth, ends).await;
    refused("plain text at a TLS port", at(&server, Listener::Tls), SOON, auth, ends).await;
    refused("no user where one is needed", at(&server, Listener::Sasl), SOON, auth, "ask for a user").await;
    let nameless = at(&server, Listener::SaslTls).tls(tls());
    refused("no user where one is needed, by TLS", nameless, SOON, auth, "ask for a user").await;
    let open = at(&server, Listener::Plain).user("app").password(PASSWORD);
    refused("a user where none is asked for", open, AT_ONCE, auth, "asks for no user").await;

    for (what, config) in [
        ("SCRAM-SHA-512", sasl().password(PASSWORD)),
        ("SCRAM-SHA-256", sasl().password(PASSWORD).sasl(Sasl::ScramSha256)),
        ("SCRAM by TLS", both().tls(tls()).sasl(Sasl::ScramSha256)),
        ("PLAIN by TLS", plain),
        ("a certificate of the client", unknown.tls(shown())),
    ] {
        let driver = lab::connected(config).await;
        // A broker that has just begun is not ready for everything.
        lab::eventually(what, || async { driver.admin().streams().await.ok() }).await;
        driver.close(AT_ONCE).await.unwrap();
    }
    lab::assert_log_is_clean();
}

#[tokio::test]
async fn nothing_is_tried_with_settings_that_would_tell_a_secret() {
    let nobody = || zephcast_kafka::KafkaConfig::new("127.0.0.1", 1);
    let soon = Duration::from_millis(100);
    let plain = nobody().user("app").password(PASSWORD).sasl(Sasl::Plain);
    let error = zephcast_kafka::KafkaDriver::connect(plain).await.map(drop).expect_err("in clear text");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("kafka+ssl://"), "{error}");
    let missing = nobody().tls(Tls::new().ca("/nowhere/ca.pem"));
    let began = std::time::Instant::now();
    let error = zephcast_kafka::KafkaDriver::connect(missing).await.map(drop).expect_err("no such file");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("/nowhere/ca.pem") && began.elapsed() < soon, "{error}");
}

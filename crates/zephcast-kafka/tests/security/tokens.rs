//! Logging in with tokens.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use integration_tests::certificates::{Authority, LOOPBACK, Validity};
use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};
use zephcast_core::driver::Driver;
use zephcast_kafka::{ErrorKind, OauthToken, Tls};

use crate::lab::{self, at, refused};

const AT_ONCE: Duration = Duration::from_secs(3);
const LIFE: Duration = Duration::from_secs(5);

/// A token without a signature, as a broker takes it that is set up for trying things out.
fn jwt(expires: SystemTime) -> String {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let claims = format!(r#"{{"sub":"app","iat":{},"exp":{}}}"#, seconds(expires) - 60.0, seconds(expires));
    format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_asked_for_renewed_and_never_told() {
    let authority = Authority::new().unwrap();
    let good = authority.issue("good", LOOPBACK, Validity::Good).unwrap();
    let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
    let options = KafkaOptions::default().user("app", lab::PASSWORD).certificate(&good);
    let server = KafkaServer::start(
        options
            .property("listener.name.sasl_ssl.sasl.enabled.mechanisms", "PLAIN,OAUTHBEARER")
            .property(
                "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config",
                &format!("{module} required unsecuredLoginStringClaim_sub=\"broker\";"),
            )
            .property("listener.name.sasl_ssl.oauthbearer.connections.max.reauth.ms", "60000"),
    )
    .await
    .unwrap();
    let secure = || at(&server, Listener::SaslTls).tls(Tls::new().ca(authority.certificate()));

    let given = Arc::new(Mutex::new(Vec::new()));
    let asked = || given.lock().unwrap().len();
    let driver = lab::connected(secure().token_provider({
        let given = given.clone();
        move || {
            let expires = SystemTime::now() + LIFE;
            let token = jwt(expires);
            given.lock().unwrap().push(token.clone());
            Ok(OauthToken::new(token, expires).principal("app"))
        }
    }))
    .await;
    let at_first = asked();
    assert!(at_first > 0);
    lab::eventually("a new token before the old one ends", || async {
        // A broker that has just begun is not ready for everything.
        let listed = driver.admin().streams().await;
        listed.ok().filter(|_| asked() > at_first)
    })
    .await;
    // Past the first one's life.
    tokio::time::sleep(LIFE).await;
    driver.admin().streams().await.unwrap();
    driver.close(AT_ONCE).await.unwrap();

    let past = SystemTime::now() - Duration::from_secs(60);
    let old = secure().token_provider(move || Ok(OauthToken::new(jwt(past), SystemTime::now() + LIFE)));
    refused("a token that ended", old, AT_ONCE, ErrorKind::Auth, "the credentials were refused").await;
    let sealed = secure().token_provider(|| Err("the vault is sealed".into()));
    refused("no token", sealed, AT_ONCE, ErrorKind::Auth, "gave no token: the vault is sealed").await;
    let given = given.lock().unwrap();
    // Header, claims and signature; the first and the last are the same for all.
    let claims: Vec<&str> = given.iter().filter_map(|token| token.split('.').nth(1)).collect();
    lab::assert_log_lacks(&claims);
}

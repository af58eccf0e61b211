use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tracing::field::{Field, Visit};
use tracing::span;
use zephcast_core::{ErrorKind, Tls};

use super::*;
use crate::config::OauthToken;

/// Keeps whatever is written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0.lock().unwrap(), "{field}={value:?} ");
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
        self.0.lock().unwrap().push('\n');
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// What is logged while a client of the library tries to reach nobody for a while, with all that it can say.
fn talk(config: KafkaConfig) -> (String, Trouble) {
    let log = Log::default();
    let context = Context::new(&config);
    let trouble = context.trouble.clone();
    tracing::subscriber::with_default(log.clone(), || {
        let config = config.property("debug", "all");
        config.validate("connect").unwrap();
        let consumer: BaseConsumer<Context> = config.client_config().create_with_context(context).unwrap();
        for _ in 0..5 {
            if let Some(polled) = consumer.poll(Duration::from_millis(100)) {
                polled.map(drop).expect_err("nobody is there");
            }
        }
        let _ = consumer.fetch_metadata(None, Duration::from_millis(10));
    });
    let log = log.0.lock().unwrap().clone();
    (log, trouble)
}

#[test]
fn no_secret_is_ever_logged() {
    let tls = || Tls::new();
    for config in [
        KafkaConfig::new("127.0.0.1", 1).user("u").password("canary-secret"),
        KafkaConfig::new("127.0.0.1", 1).tls(tls()).user("u").password("canary-secret").sasl(crate::Sasl::Plain),
        KafkaConfig::new("127.0.0.1", 1).tls(tls()).property("ssl.key.password", "canary-secret"),
        KafkaConfig::new("127.0.0.1", 1).tls(tls()).token_provider(|| {
            Ok(OauthToken::new("canary-secret", SystemTime::now() + Duration::from_secs(60)).principal("app"))
        }),
    ] {
        let shown = format!("{config:?}");
        let (log, trouble) = talk(config);
        assert!(log.contains("metadata.broker.list"), "the settings are logged: {log}");
        assert!(!log.contains("canary"), "{log}");
        assert!(!format!("{:?}", trouble.last()).contains("canary"));
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(trouble.last().map(|error| error.kind()), Some(ErrorKind::Unavailable));
    }
}

#[test]
fn a_secret_that_the_library_would_write_is_hidden() {
    let config = KafkaConfig::new("h", 1).user("u").password("canary-secret");
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        let context = Context::new(&config);
        context.log(RDKafkaLogLevel::Critical, "CONF", "sasl.password = canary-secret");
        context.error(KafkaError::Global(Code::Authentication), "h:1/1: SASL authentication error: canary-secret");
        assert!(!format!("{:?}", context.trouble.last()).contains("canary"));
    });
    let log = log.0.lock().unwrap().clone();
    assert!(log.contains("***") && !log.contains("canary"), "{log}");
}

#[test]
fn a_short_secret_is_hidden_where_it_stands_for_itself() {
    let clean = without("sasl_plaintext u:p@h:1 p unsupported P", "p");
    assert_eq!(clean, "sasl_plaintext u:***@h:1 *** unsupported P");
    assert_eq!(without("appp p", "p"), "appp ***");
    assert_eq!(without("xxcanary-secretxx", "canary-secret"), "xx***xx");
}

#[test]
fn a_provider_that_fails_is_told_at_once() {
    let config =
        KafkaConfig::new("127.0.0.1", 1).tls(Tls::new()).token_provider(|| Err("the vault\0 is sealed".into()));
    let (_, trouble) = talk(config);
    let error = trouble.last().expect("no token");
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
    assert!(error.to_string().contains("gave no token: the vault is sealed"), "{error:?}");
}

//! Private brokers with users, certificates and access lists, and a log that keeps everything.

use std::error::Error as StdError;
use std::io::Write;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use integration_tests::kafka_server::{KafkaServer, Listener};
use tracing_subscriber::filter::LevelFilter;
use zephcast_kafka::{Error, ErrorKind, KafkaConfig, KafkaDriver};

/// Begins every secret here.
pub(crate) const CANARY: &str = "zc-canary-";
pub(crate) const PASSWORD: &str = "zc-canary-right";
pub(crate) const WRONG: &str = "zc-canary-wrong";

/// The time after which an error would come without having been told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Settings of a client at one of the server's listeners, which writes all that it can to the log.
pub(crate) fn at(server: &KafkaServer, listener: Listener) -> KafkaConfig {
    record();
    let address = server.addr(0, listener);
    KafkaConfig::new(address.ip().to_string(), address.port()).connect_timeout(PATIENCE).property("debug", "all")
}

/// An error and all of its causes, as somebody would print them.
pub(crate) fn whole(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error} {error:?}"));
        cause = error.source();
    }
    text
}

/// Connects in vain, and soon.
pub(crate) async fn refused(what: &str, config: KafkaConfig, within: Duration, kind: ErrorKind, part: &str) {
    let servers = config.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<String>();
    let began = Instant::now();
    let error = KafkaDriver::connect(config).await.map(drop).expect_err(what);
    let took = began.elapsed();
    assert_eq!(error.kind(), kind, "{what}: {}", whole(&error));
    assert!(error.to_string().contains(part), "{what}: {}", whole(&error));
    let names_it = error.to_string().contains(&servers) || part.contains("token");
    assert!(names_it, "{what} names the broker: {error}");
    assert!(!whole(&error).contains(CANARY), "{what}: {}", whole(&error));
    assert!(took < within, "{what}: after {took:?}");
}

static RECORD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Recorder;

impl Write for Recorder {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        RECORD.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps whatever is logged in this process.
fn record() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let all = tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::TRACE);
        all.with_writer(|| Recorder).init();
    });
}

/// Asserts that the log has lines of the client library and no secret.
pub(crate) fn assert_log_is_clean() {
    assert_log_lacks(&[CANARY]);
}

/// Asserts that the log has lines of the client library and none of these texts.
pub(crate) fn assert_log_lacks(secrets: &[&str]) {
    let log = String::from_utf8_lossy(&RECORD.lock().unwrap()).into_owned();
    assert!(
        log.contains("librdkafka") && log.contains("sasl.mechanisms"),
        "the library writes its settings to the log"
    );
    let told: Vec<&str> = log.lines().filter(|line| secrets.iter().any(|secret| line.contains(secret))).collect();
    assert!(told.is_empty(), "{told:#?}");
}

/// The end of the log, without the library's chatter.
pub(crate) fn log_end() -> String {
    let log = String::from_utf8_lossy(&RECORD.lock().unwrap()).into_owned();
    let told: Vec<&str> = log.lines().filter(|line| !line.contains("TRACE")).collect();
    told[told.len().saturating_sub(30)..].join("\n")
}

/// Waits for something to become so.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A driver that is there.
pub(crate) async fn connected(config: KafkaConfig) -> Arc<KafkaDriver> {
    KafkaDriver::connect(config).await.unwrap_or_else(|error| panic!("{}", whole(&error)))
}

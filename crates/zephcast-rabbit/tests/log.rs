//! The log with all that it can have, the client library's lines included: no secret in it, and nothing of a message.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, helpers included")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use tracing_subscriber::filter::LevelFilter;
use zephcast_rabbit::{ErrorKind, Message, MessageId, RabbitConfig, Retry};

/// Begins all that must not be seen.
const CANARY: &str = "zc-canary-";
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<u8>>>);

impl Write for Record {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn message(number: usize) -> Message {
    let part = |name: &str| format!("{CANARY}{name}-{number}");
    let message = Message::new(part("payload")).with_key(part("key")).with_id(MessageId::new(part("id")));
    message.with_header("h", part("value"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_neither_secrets_nor_messages() {
    let record = Record::default();
    let all = tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::TRACE);
    let writer = record.clone();
    all.with_writer(move || writer.clone()).init();

    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let password = format!("{CANARY}password");
    server.ctl(&["add_user", "shop", &password]).await.unwrap();
    server.ctl(&["set_permissions", "shop", ".*", ".*", ".*"]).await.unwrap();
    let at = |password: &str| {
        let url = server.url().replace("guest:guest", &format!("shop:{password}"));
        RabbitConfig::from_url(&url).unwrap()
    };
    let refused = at(&format!("{CANARY}wrong")).connect().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Auth, "{refused}");

    let client = at(&password).connect().await.unwrap();
    let publisher = client.publisher("orders").create(true).await.unwrap();
    let unroutable = publisher.publish(message(0)).await.unwrap_err();
    assert_eq!(unroutable.error().kind(), ErrorKind::Unroutable, "{unroutable}");
    let retry = Retry::exponential(Duration::from_millis(10)).max_attempts(2);
    let mut consumer = client.consumer("orders").group("billing").create(true).retry(retry).start().await.unwrap();
    publisher.publish(message(1)).await.unwrap();
    // Once more, and then a dead letter.
    for _ in 0..2 {
        let next = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap().unwrap();
        next.fail("not yet").unwrap();
    }
    consumer.close(PATIENCE).await.unwrap();
    client.close(PATIENCE).await.unwrap();

    let log = String::from_utf8(record.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("lapin") && log.contains("zephcast"), "{log}");
    let bytes = format!("{:?}", CANARY.as_bytes());
    for canary in [CANARY, bytes.trim_matches(['[', ']'])] {
        let line = log.lines().find(|line| line.contains(canary));
        assert_eq!(line, None);
    }
}

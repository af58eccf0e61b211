//! Good credentials that are not allowed everything.

use std::time::{Duration, Instant};

use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};
use zephcast_core::driver::{Driver, StreamSpec};
use zephcast_kafka::{Client, ErrorKind, KafkaDriver, Message, PublishError, StreamName};

use crate::lab::{self, CANARY, PASSWORD, at, whole};

const AT_ONCE: Duration = Duration::from_secs(5);

async fn allow(server: &KafkaServer, user: &str, rights: &[&str]) {
    let principal = format!("User:{user}");
    let mut arguments = vec!["--add", "--allow-principal", &principal];
    arguments.extend(rights);
    server.tool("org.apache.kafka.tools.AclCommand", &arguments).await.unwrap();
}

async fn streams(server: &KafkaServer, names: &[&str]) {
    let driver = KafkaDriver::connect(at(server, Listener::Plain)).await.unwrap();
    for name in names {
        driver.admin().create_stream(&StreamSpec::new(StreamName::new(*name).unwrap())).await.unwrap();
    }
    driver.close(AT_ONCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_told_at_once() {
    let options = KafkaOptions::default().user("reader", PASSWORD).user("writer", PASSWORD).user("nobody", PASSWORD);
    let server = KafkaServer::start(options.authorized()).await.unwrap();
    streams(&server, &["orders", "payments"]).await;
    allow(&server, "reader", &["--operation", "Read", "--operation", "Describe", "--topic", "orders"]).await;
    allow(&server, "writer", &["--operation", "Write", "--operation", "Describe", "--topic", "orders"]).await;
    let client = async |user: &str| -> Client { Client::new(connected(&server, user).await) };

    // Nothing at all: whether the stream exists is not told either.
    let nobody = client("nobody").await;
    let began = Instant::now();
    let error = nobody.publisher("orders").await.map(drop).expect_err("no right to see it");
    assert!(matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound), "{}", whole(&error));
    assert!(began.elapsed() < AT_ONCE && !whole(&error).contains(CANARY), "{}", whole(&error));

    // May read, not write.
    let reader = client("reader").await;
    let publisher = reader.publisher("orders").await.unwrap();
    for _ in 0..2 {
        let began = Instant::now();
        let error = publisher.publish(Message::new("x")).await.map(drop).expect_err("no right to write");
        assert!(matches!(&error, PublishError::Failed(_)), "certainly not stored: {error:?}");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", whole(error.error()));
        assert!(began.elapsed() < AT_ONCE, "after {:?}", began.elapsed());
        assert!(error.error().to_string().contains("not allowed"), "{error:?}");
        assert!(!whole(error.error()).contains(CANARY));
    }
    // What was missing is given, and the same publisher goes on.
    allow(&server, "reader", &["--operation", "Write", "--topic", "orders"]).await;
    lab::eventually("allowed now", || async { publisher.publish(Message::new("x")).await.ok() }).await;

    // May write, and nothing else anywhere else.
    let writer = client("writer").await;
    writer.publisher("orders").await.unwrap().publish(Message::new("x")).await.unwrap();
    let error = writer.publisher("payments").await.map(drop).expect_err("no right to see it");
    assert!(matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound), "{}", whole(&error));
    let error = writer.admin().create_stream(&StreamSpec::new("new".parse().unwrap())).await.expect_err("no right to");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", whole(&error));

    for client in [nobody, reader, writer] {
        client.close(AT_ONCE).await.unwrap();
    }
    lab::assert_log_is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_does_not_join() {
    let server = KafkaServer::start(KafkaOptions::default().user("app", PASSWORD).authorized()).await.unwrap();
    streams(&server, &["orders"]).await;
    allow(&server, "app", &["--operation", "Write", "--operation", "Describe", "--topic", "orders"]).await;
    allow(&server, "app", HELPERS).await;
    let client = Client::new(connected(&server, "app").await);
    client.publisher("orders").await.unwrap().publish(Message::new("x")).await.unwrap();

    // Neither the group nor the stream.
    let error = first(&client, "billing").await.expect_err("no right to the group");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", whole(&error));
    assert!(error.to_string().contains("not allowed to use the group"), "{}", whole(&error));
    // The group, but not the stream.
    allow(&server, "app", &["--operation", "Read", "--operation", "Describe", "--group", "billing"]).await;
    let denied = || async { first(&client, "billing").await.err().filter(|error| error.to_string().contains("topic")) };
    let error = lab::eventually("no right to the stream", denied).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", whole(&error));
    // Both.
    allow(&server, "app", &["--operation", "Read", "--topic", "orders"]).await;
    let text = lab::eventually("allowed now", || async { first(&client, "billing").await.ok() }).await;
    assert_eq!(text, "x");
    client.close(AT_ONCE).await.unwrap();
    lab::assert_log_is_clean();
}

/// The rights to the helper topics of the group `billing`, as the README has them.
const HELPERS: &[&str] = &[
    "--operation",
    "Read",
    "--operation",
    "Write",
    "--operation",
    "Describe",
    "--operation",
    "Create",
    "--topic",
    "orders.billing.",
    "--resource-pattern-type",
    "prefixed",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_the_readme_are_enough() {
    let server = KafkaServer::start(KafkaOptions::default().user("app", PASSWORD).authorized()).await.unwrap();
    streams(&server, &["orders"]).await;
    let on_the_stream = ["--operation", "Read", "--operation", "Write", "--operation", "Describe", "--topic", "orders"];
    allow(&server, "app", &on_the_stream).await;
    allow(&server, "app", HELPERS).await;
    let read = ["--operation", "Read", "--operation", "Describe", "--group"];
    allow(&server, "app", &[&read[..], &["billing"]].concat()).await;
    allow(&server, "app", &[&read[..], &["orders.billing.", "--resource-pattern-type", "prefixed"]].concat()).await;
    let client = Client::new(connected(&server, "app").await);
    let publisher = client.publisher("orders").await.unwrap();
    for text in ["good", "late", "bad"] {
        publisher.publish(Message::new(text)).await.unwrap();
    }

    let mut consumer = client.consumer("orders").group("billing").lease(Duration::from_secs(6)).start().await.unwrap();
    let mut left = vec!["good", "late", "bad"];
    while !left.is_empty() {
        let next = tokio::time::timeout(lab::PATIENCE, consumer.next()).await;
        let next = next.unwrap_or_else(|_| panic!("{left:?} did not come: {}", lab::log_end()));
        let delivery = next.expect("the member lives").unwrap_or_else(|error| panic!("{}", whole(&error)));
        match (delivery.payload_str().unwrap(), delivery.attempt()) {
            ("late", 1) => {
                delivery.fail("not today").unwrap();
                continue;
            }
            ("bad", _) => {
                left.retain(|text| *text != "bad");
                delivery.reject("never").unwrap();
            }
            (text, _) => {
                left.retain(|known| *known != text);
                delivery.ack().unwrap();
            }
        }
    }
    consumer.close(AT_ONCE).await.unwrap();
    let (stream, group) = ("orders".parse().unwrap(), "billing".parse().unwrap());
    let status = client.group_status("orders", "billing").await.unwrap();
    assert_eq!((status.lag, status.dead_letters), (Some(0), Some(1)), "{status:?}");
    assert_eq!(client.admin().dead_letters(&stream, &group, None, 10).await.unwrap().len(), 1);
    client.close(AT_ONCE).await.unwrap();
    lab::assert_log_is_clean();
}

/// Joins, and gives the first message, or the error with which that ended.
async fn first(client: &Client, group: &str) -> zephcast_kafka::Result<String> {
    let began = Instant::now();
    let received = async {
        let mut consumer = client.consumer("orders").group(group).lease(Duration::from_secs(6)).start().await?;
        let delivery = consumer.next().await.expect("a message, or why there is none")?;
        let text = delivery.payload_str()?.to_owned();
        delivery.ack()?;
        consumer.close(AT_ONCE).await?;
        Ok(text)
    };
    let received = tokio::time::timeout(lab::PATIENCE, received).await;
    let received = received.unwrap_or_else(|_| panic!("neither a message nor an error: {}", lab::log_end()));
    assert!(began.elapsed() < 2 * AT_ONCE, "after {:?}: {received:?}", began.elapsed());
    if let Err(error) = &received {
        assert!(!whole(error).contains(CANARY), "{}", whole(error));
    }
    received
}

async fn connected(server: &KafkaServer, user: &str) -> std::sync::Arc<KafkaDriver> {
    lab::connected(at(server, Listener::Sasl).user(user).password(PASSWORD)).await
}

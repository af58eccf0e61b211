//! What the client library cannot read: others can publish it, and it arrives all the same.

use std::time::Duration;

use integration_tests::amqp::{Session, long};
use integration_tests::certificates::{Authority, LOOPBACK, Validity};
use integration_tests::ports;
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use zephcast::{Client, Consumer, Delivery, ErrorKind, Retry};

use super::other::PATIENCE;

/// Content type and headers.
const CONTENT_TYPE: u8 = 1 << 7;
const HEADERS: u8 = 1 << 5;

/// Near what a frame of 128 KiB can hold: six bytes each.
const DEPTH: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_nested_deep_arrive_between_others() {
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let mut lab = Lab::begin(&server, &server.url()).await;
    // Tables within tables, each with a name of no letters.
    let nested = (0..DEPTH).fold(Vec::new(), |inside, _| [&[0, b'F'][..], &long(&inside)].concat());
    let properties = [&[HEADERS, 0][..], &long(&nested)].concat();
    lab.hostile.store("orders", b"deep", &properties, b"deep").await.expect("is stored");
    let delivery = lab.between_others("deep").await;
    let shown = delivery.headers().first_str("").expect("is shown").to_owned();
    assert!(shown.starts_with("{\"\":{") && shown.contains("..."), "{shown}");
    // A copy of it waits in another queue, and comes back.
    delivery.fail("once").expect("is ours");
    let again = lab.next().await;
    assert_eq!((again.attempt(), again.headers().first_str("")), (2, Some(shown.as_str())));
    again.ack_confirmed().await.expect("is settled");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_are_no_utf8_arrive_between_others() {
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let mut lab = Lab::begin(&server, &server.url()).await;
    lab.publish_no_utf8().await;
    let delivery = lab.between_others("no UTF-8").await;
    assert_no_utf8(&delivery);
    delivery.fail("once").expect("is ours");
    let again = lab.next().await;
    assert_no_utf8(&again);
    assert_eq!(again.attempt(), 2);
    again.ack_confirmed().await.expect("is settled");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_arrive_through_tls_which_is_verified() {
    let authority = Authority::new().expect("an authority");
    let certificate = authority.issue("server", LOOPBACK, Validity::Good).expect("a certificate");
    let port = ports::free().expect("a port");
    let options = RabbitOptions::default()
        .setting("listeners.ssl.1", format!("127.0.0.1:{port}"))
        .setting("ssl_options.cacertfile", certificate.authority().display())
        .setting("ssl_options.certfile", certificate.chain().display())
        .setting("ssl_options.keyfile", certificate.key().display());
    let server = RabbitServer::start(options).await.expect("RabbitMQ starts");
    let url = |host: &str, authority: &Authority| {
        let (trusted, management) = (authority.certificate(), server.management_addr());
        format!("amqps://guest:guest@{host}:{port}/%2f?tls-ca={}&management=http://{management}", trusted.display())
    };
    let mut lab = Lab::begin(&server, &url("localhost", &authority)).await;
    lab.publish_no_utf8().await;
    let delivery = lab.between_others("no UTF-8").await;
    assert_no_utf8(&delivery);
    delivery.ack_confirmed().await.expect("is settled");
    // More than a frame, and than TLS takes at once.
    let large = vec![7; 3_000_000];
    lab.publisher.publish(large.clone()).await.expect("is stored");
    let delivery = lab.next().await;
    assert!(delivery.payload().as_ref() == large);
    delivery.ack_confirmed().await.expect("is settled");
    lab.end().await;

    let stranger = Authority::new().expect("an authority");
    // The certificate knows the same address by another name only.
    for url in [url("127.0.0.1", &stranger), url("[::ffff:127.0.0.1]", &authority)] {
        let refused = zephcast::connect(&url).await.expect_err("it shows no certificate for that");
        assert_eq!(refused.kind(), ErrorKind::Auth, "{refused:?}");
    }
}

/// A group, who publishes well, and who does not.
struct Lab {
    client: Client,
    publisher: zephcast::Publisher,
    consumer: Consumer,
    hostile: Session,
}

impl Lab {
    async fn begin(server: &RabbitServer, url: &str) -> Self {
        let client = zephcast::connect(url).await.expect("connects");
        let group = client.consumer("orders").group("billing").retry(Retry::exponential(Duration::from_secs(1)));
        let consumer = group.start().await.expect("joins");
        let publisher = client.publisher("orders").await.expect("opens");
        publisher.publish("before").await.expect("is stored");
        let mut hostile = Session::open(server.addr()).await.expect("connects");
        hostile.confirm().await.expect("is told what is stored");
        Self { client, publisher, consumer, hostile }
    }

    /// The same byte in the key, in a property, and in the name of a header.
    async fn publish_no_utf8(&mut self) {
        let content_type = b"\x04a/\xFFb";
        let headers = long(b"\x05name\xFFS\x00\x00\x00\x06va\xFFlue");
        let properties = [&[CONTENT_TYPE | HEADERS, 0][..], content_type, &headers].concat();
        self.hostile.store("orders", b"key\xFF", &properties, b"no UTF-8").await.expect("is stored");
    }

    async fn next(&mut self) -> Delivery {
        let next = tokio::time::timeout(PATIENCE, self.consumer.next()).await.expect("in time").expect("no end");
        next.expect("no permanent error")
    }

    /// What was published by the hostile, with one before and one behind it.
    async fn between_others(&mut self, payload: &str) -> Delivery {
        self.publisher.publish("behind").await.expect("is stored");
        let before = self.next().await;
        assert_eq!(before.payload_str().expect("text"), "before");
        before.ack().expect("is ours");
        let hostile = self.next().await;
        assert_eq!(hostile.payload_str().expect("text"), payload);
        let behind = self.next().await;
        assert_eq!(behind.payload_str().expect("text"), "behind");
        behind.ack().expect("is ours");
        hostile
    }

    /// Nothing is left.
    async fn end(self) {
        self.consumer.close(PATIENCE).await.expect("leaves");
        let status = self.client.group_status("orders", "billing").await.expect("a status");
        assert_eq!((status.lag, status.dead_letters), (Some(0), Some(0)), "{status:?}");
    }
}

fn assert_no_utf8(delivery: &Delivery) {
    assert_eq!(delivery.key().map(|key| key.to_vec()), Some(b"key?".to_vec()));
    assert_eq!(delivery.headers().first_str("amqp.content-type"), Some("a/?b"));
    // A value may be any bytes.
    assert_eq!(delivery.headers().first("name?").map(|value| value.to_vec()), Some(b"va\xFFlue".to_vec()));
}

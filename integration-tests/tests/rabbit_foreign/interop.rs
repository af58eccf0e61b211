//! On either end of a stream there may be another program.

use lapin::BasicProperties;
use lapin::options::BasicAckOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use zephcast::Message;
use zephcast_rabbit::{Binding, BindingValue, Exchange, RabbitConfig, RabbitDriver};

use super::other::{Other, PATIENCE};

fn every_byte() -> Vec<u8> {
    (0..=u8::MAX).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_publish_arrives_byte_for_byte() {
    let other = Other::begin().await;
    other.exchange("orders").await;
    let client = zephcast::connect(&other.server.url()).await.expect("connects");
    let mut consumer = client.consumer("orders").group("billing").start().await.expect("joins");
    let mut headers = FieldTable::default();
    headers.insert(ShortString::from("count"), AMQPValue::LongInt(-7));
    let properties = || BasicProperties::default().with_headers(headers.clone()).with_content_type("a/b".into());
    other.publish("orders", "a.key", &every_byte(), properties()).await;
    // Straight to the queue.
    other.publish("", "orders.billing", &every_byte(), properties()).await;
    for key in ["a.key", "orders.billing"] {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("no end");
        let delivery = delivery.expect("no permanent error");
        assert_eq!(delivery.payload().as_ref(), every_byte());
        assert_eq!(delivery.key().map(|key| key.to_vec()), Some(key.as_bytes().to_vec()));
        assert_eq!(delivery.headers().first_str("amqp.content-type"), Some("a/b"));
        delivery.ack_confirmed().await.expect("is settled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_read_what_is_published() {
    let other = Other::begin().await;
    other.queue("theirs", &[]).await;
    let url = other.server.url();
    let named = zephcast::connect(&url).await.expect("connects");
    let stream = named.publisher("orders").create(true).await.expect("opens");
    // Nobody has a group there yet.
    other.bind("theirs", "orders", "a.*").await;
    let message = || Message::new(every_byte()).with_id(zephcast::MessageId::new("m-1")).with_header("region", "north");
    stream.publish(message().with_key("a.key")).await.expect("is stored");
    // The stream is their queue.
    let straight = zephcast::connect(&format!("{url}&exchange=default")).await.expect("connects");
    straight.publisher("theirs").await.expect("opens").publish(message()).await.expect("is stored");
    for key in ["a.key", "theirs"] {
        let raw = other.take("theirs").await;
        assert_eq!((raw.data.as_slice(), raw.routing_key.as_str()), (&every_byte()[..], key));
        let properties = &raw.properties;
        assert_eq!(properties.message_id().as_ref().map(ShortString::as_str), Some("m-1"));
        assert_eq!(properties.delivery_mode(), &Some(2), "it outlives the server");
        let headers = properties.headers().as_ref().expect("headers").inner();
        assert_eq!(headers.get("region"), Some(&AMQPValue::LongString("north".into())));
        raw.acker.ack(BasicAckOptions::default()).await.expect("acks");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_others_are_matched_by_type() {
    let other = Other::begin().await;
    let config = RabbitConfig::from_url(&other.server.url()).expect("is a URL").exchange(Exchange::Headers);
    let large = Binding::default().argument("x-match", "all").argument("size", 7).argument("urgent", BindingValue::Any);
    let driver = RabbitDriver::connect(config.bindings([large])).await.expect("connects");
    let client = zephcast::Client::new(driver);
    let mut consumer = client.consumer("sizes").group("large").start().await.expect("joins");
    let properties = |size: AMQPValue| {
        let mut headers = FieldTable::default();
        headers.insert(ShortString::from("size"), size);
        headers.insert(ShortString::from("urgent"), AMQPValue::Boolean(false));
        BasicProperties::default().with_headers(headers)
    };
    for (body, size) in [("text", AMQPValue::LongString("7".into())), ("other", AMQPValue::ShortInt(8))] {
        assert!(!other.is_taken("sizes", "", body.as_bytes(), properties(size)).await, "{body}");
    }
    other.publish("sizes", "", b"seven", properties(AMQPValue::ShortShortInt(7))).await;
    let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("no end");
    let delivery = delivery.expect("no permanent error");
    assert_eq!((delivery.payload().as_ref(), delivery.headers().first_str("size")), (&b"seven"[..], Some("7")));
    delivery.ack_confirmed().await.expect("is settled");
}

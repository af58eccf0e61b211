//! What only a server can say: that it carries all of this.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicRejectOptions, QueueDeclareOptions,
};
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use tokio::time::timeout;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

/// The queues of a group, of one type.
struct Queues<'a> {
    channel: &'a Channel,
    kind: &'static str,
    main: String,
    /// From where messages come back to the main one at once.
    retry: String,
}

impl<'a> Queues<'a> {
    async fn declare(channel: &'a Channel, kind: &'static str) -> Self {
        let (main, retry) = (format!("orders.{kind}"), format!("orders.{kind}.retry"));
        let back = table([
            ("x-dead-letter-exchange", words("")),
            ("x-dead-letter-routing-key", words(&main)),
            ("x-message-ttl", AMQPValue::LongInt(0)),
            ("x-queue-type", words(kind)),
        ]);
        for (queue, arguments) in [(&retry, back), (&main, table([("x-queue-type", words(kind))]))] {
            channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
        }
        Self { channel, kind, main, retry }
    }

    async fn consumer(&self) -> Consumer {
        let (queue, options) = (self.main.as_str().into(), BasicConsumeOptions::default());
        self.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.unwrap()
    }

    fn taken(&self, delivery: &Delivery) -> Decoded {
        let (routing_key, own) = (delivery.routing_key.as_str(), format!("{}.", self.main));
        decode(delivery.data.clone().into(), routing_key, delivery.properties.clone(), &own)
    }
}

async fn publish(channel: &Channel, queue: &str, outgoing: &Outgoing) {
    let (options, properties) = (BasicPublishOptions::default(), outgoing.properties.clone());
    channel.basic_publish("".into(), queue.into(), options, &outgoing.payload, properties).await.unwrap();
}

async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(LIMIT, consumer.next()).await.expect("a delivery in time").unwrap().unwrap()
}

/// Every type, and names of every kind.
fn every_header() -> BasicProperties {
    let scalars = || {
        [
            ("array", array([words("a"), AMQPValue::Void, AMQPValue::LongInt(-1)])),
            ("bool", AMQPValue::Boolean(true)),
            ("byte", AMQPValue::ShortShortInt(-1)),
            ("bytes", AMQPValue::ByteArray(ByteArray::from(&b"\0\xff"[..]))),
            ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 12_345 })),
            ("double", AMQPValue::Double(0.1)),
            ("float", AMQPValue::Float(0.1)),
            ("int", AMQPValue::LongInt(i32::MIN)),
            ("long", AMQPValue::LongLongInt(i64::MIN)),
            ("short", AMQPValue::ShortInt(i16::MIN)),
            ("text", AMQPValue::LongString(LongString::from(&b"\0\r\n\xff"[..]))),
            ("time", AMQPValue::Timestamp(1_700_000_000)),
            ("unsigned byte", AMQPValue::ShortShortUInt(u8::MAX)),
            ("unsigned int", AMQPValue::LongUInt(u32::MAX)),
            ("unsigned short", AMQPValue::ShortUInt(u16::MAX)),
            ("void", AMQPValue::Void),
        ]
    };
    let mut headers = table(scalars());
    headers.insert("table".into(), AMQPValue::FieldTable(table(scalars())));
    headers.insert("x-death".into(), array([death("elsewhere")]));
    for name in ["", "nul\0", "lines\r\n", "größe", "amqp.type", "CC"] {
        headers.insert(name.into(), array([words("x")]));
    }
    headers.insert("n".repeat(255).into(), words("x"));
    let properties = BasicProperties::default().with_headers(headers).with_type("t".into()).with_priority(9);
    properties.with_expiration("60000".into()).with_user_id("guest".into()).with_delivery_mode(1)
}

/// A message of another program, as a copy of ours, which is also dead-lettered.
async fn carries_copies(queues: &Queues<'_>, consumer: &mut Consumer) {
    let first = foreign(&every_header());
    let copy = copied(&first, &Notes { attempts: 1, ..Notes::default() });
    publish(queues.channel, &queues.main, &copy).await;
    let straight = next(consumer).await;
    assert_eq!(straight.properties, copy.properties);
    publish(queues.channel, &queues.retry, &copy).await;
    let back = next(consumer).await;
    assert!(back.properties.headers().as_ref().unwrap().contains_key("x-death"));
    for delivery in [&straight, &back] {
        let second = queues.taken(delivery);
        assert_eq!(second.message, first.message);
        assert_eq!(second.notes.attempts, 1);
        assert_eq!(copied(&second, &second.notes), copy);
        delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
    }
}

/// A message of ours with every standard property, also given back.
async fn carries_publishes(queues: &Queues<'_>, consumer: &mut Consumer) {
    let mut own = BTreeMap::from([("amqp.user-id".to_owned(), "guest"), (String::new(), ""), ("nul\0".into(), "\0")]);
    for name in ["app-id", "cluster-id", "content-encoding", "content-type", "correlation-id", "reply-to", "type"] {
        own.insert(format!("amqp.{name}"), "");
    }
    for (name, value) in [("expiration", "60000"), ("priority", "255"), ("timestamp", "18446744073709551615")] {
        own.insert(format!("amqp.{name}"), value);
    }
    let own = own.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect();
    let message = Message::new("body").with_key(queues.main.clone()).with_headers(own);
    let outgoing = encode(&message, "s", MAX).unwrap();
    publish(queues.channel, &queues.main, &outgoing).await;
    let delivery = next(consumer).await;
    assert_eq!(delivery.properties, outgoing.properties);
    assert_eq!(queues.taken(&delivery).message, message);
    assert_eq!(delivery_count(&delivery.properties), None);
    delivery.acker.reject(BasicRejectOptions { requeue: true }).await.unwrap();
    let again = next(consumer).await;
    assert_eq!(delivery_count(&again.properties), (queues.kind == "quorum").then_some(1));
    assert_eq!(queues.taken(&again), queues.taken(&delivery));
}

#[tokio::test]
async fn a_server_carries_all_of_it() {
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let url = format!("amqp://guest:guest@{}/%2f", server.addr());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    for kind in ["classic", "quorum"] {
        let channel = connection.create_channel().await.unwrap();
        let queues = Queues::declare(&channel, kind).await;
        let mut consumer = queues.consumer().await;
        carries_copies(&queues, &mut consumer).await;
        carries_publishes(&queues, &mut consumer).await;
    }
    connection.close(200, "done".into()).await.unwrap();
}

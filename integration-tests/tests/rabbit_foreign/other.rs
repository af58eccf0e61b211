//! A program of somebody else.

use std::time::Duration;

use futures_util::StreamExt;
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::message::Delivery as Raw;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind};
use tokio::time::timeout;

/// The longest that anything awaited here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// It has the server, and a channel.
pub(crate) struct Other {
    pub(crate) server: RabbitServer,
    channel: Channel,
    connection: Connection,
}

impl Other {
    /// With a server of its own.
    pub(crate) async fn begin() -> Self {
        let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
        let url = format!("amqp://guest:guest@{}/%2f", server.addr());
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("connects");
        Self { server, channel: channel(&connection).await, connection }
    }

    pub(crate) async fn exchange(&self, name: &str) {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared = self.channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default());
        declared.await.expect("declares");
    }

    /// A quorum queue.
    pub(crate) async fn queue(&self, name: &str, arguments: &[(&str, &str)]) {
        self.queue_of("quorum", name, arguments).await;
    }

    pub(crate) async fn queue_of(&self, kind: &str, name: &str, arguments: &[(&str, &str)]) {
        let arguments = table(&[arguments, &[("x-queue-type", kind)]].concat());
        self.channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await.expect("declares");
    }

    pub(crate) async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let options = QueueBindOptions::default();
        let bound = self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default());
        bound.await.expect("binds");
    }

    /// Publishes, and waits until it is stored.
    pub(crate) async fn publish(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        assert!(self.is_taken(exchange, key, body, properties).await, "no queue takes it");
    }

    /// Publishes: whether it is stored, since a queue takes it.
    pub(crate) async fn is_taken(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) -> bool {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
        match sent.expect("sends").await.expect("is answered") {
            Confirmation::Ack(returned) => returned.is_none(),
            refused => panic!("{refused:?}"),
        }
    }

    pub(crate) async fn consume(&self, queue: &str, arguments: &[(&str, &str)]) -> Consumer {
        let options = BasicConsumeOptions::default();
        self.channel.basic_consume(queue.into(), "".into(), options, table(arguments)).await.expect("consumes")
    }

    /// With so many at a time as long as it consumes; 0 is without a limit.
    pub(crate) async fn consume_at_most(&self, prefetch: u16, queue: &str) -> Consumer {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await.expect("limits");
        let consumer = self.consume(queue, &[]).await;
        self.channel.basic_qos(1, BasicQosOptions::default()).await.expect("limits");
        consumer
    }

    /// Has the queue for itself, as soon as nobody else has it, until the channel is dropped.
    pub(crate) async fn consume_alone(&self, queue: &str) -> (Channel, Consumer) {
        let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let alone = async {
            loop {
                // A refusal ends the channel.
                let channel = channel(&self.connection).await;
                let asked = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
                if let Ok(consumer) = asked.await {
                    return (channel, consumer);
                }
            }
        };
        timeout(PATIENCE, alone).await.expect("nobody else has it")
    }

    pub(crate) async fn cancel(&self, consumer: Consumer) {
        self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.expect("cancels");
    }

    /// One message of a queue, not settled.
    pub(crate) async fn take(&self, queue: &str) -> Raw {
        let mut consumer = self.consume(queue, &[]).await;
        let Ok(delivery) = timeout(PATIENCE, consumer.next()).await else {
            let columns = ["list_queues", "name", "messages_ready", "messages_unacknowledged"];
            panic!("nothing comes to {queue}: {}", self.server.ctl(&columns).await.expect("a list"));
        };
        self.cancel(consumer).await;
        delivery.expect("no end").expect("works")
    }

    /// It crashes with what it took, and is started anew.
    pub(crate) async fn crash(&mut self) {
        self.channel.close(200, "".into()).await.expect("closes");
        self.channel = channel(&self.connection).await;
    }
}

/// One that confirms what is published, and gives one message at a time.
async fn channel(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.expect("opens");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    channel.basic_qos(1, BasicQosOptions::default()).await.expect("limits");
    channel
}

fn table(arguments: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), AMQPValue::LongString(LongString::from(*value)));
    }
    table
}

//! What a real server says, awaited until it does.

use std::time::Duration;

use futures_util::StreamExt;
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeBindOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use zephcast_core::{Endpoint, ErrorKind};

use super::*;

const QUEUE: &str = "zephcast.orders/billing (1)";
const OPERATION: &str = "test";
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Ticks of the queue and gathering after them, with room for a slow machine.
const FIGURES_LIMIT: Duration = Duration::from_secs(30);

async fn server() -> RabbitServer {
    RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts")
}

fn management_as(server: &RabbitServer, user: &str, password: &str, vhost: &str) -> Management {
    let credentials = Credentials::Password { user: user.into(), password: password.into() };
    management_at(&format!("http://{}", server.management_addr()), &credentials, vhost, ANSWER_LIMIT)
}

fn management_at(url: &str, credentials: &Credentials, vhost: &str, limit: Duration) -> Management {
    let endpoint: Endpoint = url.parse().unwrap();
    Management::new(&[endpoint], credentials, vhost.into(), None, limit).unwrap()
}

fn guest() -> Credentials {
    Credentials::Password { user: "guest".into(), password: "guest".into() }
}

fn management(server: &RabbitServer) -> Management {
    management_as(server, "guest", "guest", "/")
}

async fn connected(server: &RabbitServer) -> (Connection, Channel) {
    let url = format!("amqp://guest:guest@{}/%2f", server.addr());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("RabbitMQ takes clients");
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn declare(channel: &Channel, queue: &str, kind: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, arguments).await.unwrap();
}

async fn consume(channel: &Channel, queue: &str) -> Consumer {
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "billing-1".into(), options, FieldTable::default()).await.unwrap()
}

/// Asks until the answer is the one that is waited for.
async fn awaited<T: fmt::Debug>(mut ask: impl AsyncFnMut() -> T, is_it: impl Fn(&T) -> bool) -> T {
    let deadline = tokio::time::Instant::now() + FIGURES_LIMIT;
    loop {
        let answer = ask().await;
        if is_it(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "still {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_quorum_queue_and_its_consumer_are_told_of() {
    let server = server().await;
    let management = management(&server);
    let (_connection, channel) = connected(&server).await;
    declare(&channel, QUEUE, "quorum").await;
    assert!(management.queue(OPERATION, QUEUE).await.unwrap().is_some(), "it was declared");

    for _ in 0..3 {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish("".into(), QUEUE.into(), options, b"xy", properties).await.unwrap();
    }
    let mut consumer = consume(&channel, QUEUE).await;
    let delivery = consumer.next().await.unwrap().unwrap();

    let counts = |queue: &Option<QueueFigures>| queue.as_ref().map(|queue| (queue.ready, queue.unacked));
    let ask = async || management.queue(OPERATION, QUEUE).await.unwrap();
    awaited(ask, |queue| counts(queue) == Some((Some(2), Some(1)))).await;
    let gathered = |queue: &Option<QueueFigures>| queue.as_ref().is_some_and(|queue| queue.state.is_some());
    let queue = awaited(ask, gathered).await.unwrap();
    assert_eq!((queue.name.as_str(), queue.state.as_deref()), (QUEUE, Some("running")));
    assert_eq!(queue.arguments["x-queue-type"], "quorum");

    let ask = async || management.consumers(OPERATION, QUEUE).await.unwrap();
    let consumers = awaited(ask, |all| all.iter().any(|one| one.unacked == Some(1))).await;
    let [one] = &consumers[..] else { panic!("{consumers:?}") };
    assert_eq!((one.tag.as_str(), one.prefetch), ("billing-1", Some(1)));
    let idle = awaited(ask, |all| all[0].idle.is_some()).await[0].idle.unwrap();
    assert!(idle < FIGURES_LIMIT, "{idle:?}");

    delivery.ack(BasicAckOptions::default()).await.unwrap();
    for _ in 0..2 {
        let delivery = consumer.next().await.unwrap().unwrap();
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
    let ask = async || management.queue(OPERATION, QUEUE).await.unwrap();
    awaited(ask, |queue| counts(queue) == Some((Some(0), Some(0)))).await;
}

#[tokio::test]
async fn queues_exchanges_and_bindings_are_listed() {
    let server = server().await;
    let management = management(&server);
    let (_connection, channel) = connected(&server).await;
    // More than a page.
    let many: Vec<String> = (0..501).map(|n| format!("a.b|{n:03}")).collect();
    for queue in &many {
        declare(&channel, queue, "classic").await;
    }
    declare(&channel, "A.B|000", "classic").await;
    declare(&channel, "aXb|000", "stream").await;
    let bound = channel.queue_bind(
        "aXb|000".into(),
        "amq.topic".into(),
        "x.*".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();

    let queues = management.queues(OPERATION, "a.b|").await.unwrap();
    assert_eq!(queues, many);
    assert_eq!(management.queues(OPERATION, "aX").await.unwrap(), ["aXb|000"]);
    assert_eq!(management.queues(OPERATION, "none").await.unwrap(), [""; 0]);
    assert_eq!(management.queue(OPERATION, "none").await.unwrap(), None);
    assert_eq!(management.consumers(OPERATION, "none").await.unwrap(), []);

    let binding = Binding { queue: "aXb|000".into(), routing_key: "x.*".into(), arguments: serde_json::Map::new() };
    assert_eq!(management.bindings(OPERATION, "amq.topic").await.unwrap(), [binding]);
    assert_eq!(management.bindings(OPERATION, "none").await.unwrap(), []);
    let exchanges = management.exchanges(OPERATION).await.unwrap();
    let topic = ExchangeFigures { name: "amq.topic".into(), kind: "topic".into(), durable: true };
    assert!(exchanges.contains(&topic), "{exchanges:?}");
}

#[tokio::test]
async fn the_server_and_what_the_user_may_do_are_told_of() {
    let server = server().await;
    let management = management(&server);
    assert!(management.version(OPERATION).await.unwrap().split('.').all(|part| part.parse::<u32>().is_ok()));
    let all = Permissions { configure: ".*".into(), write: ".*".into(), read: ".*".into() };
    assert_eq!(management.permissions(OPERATION).await.unwrap(), Some(all));
    assert_eq!(management.alarms(OPERATION).await.unwrap(), []);
    server.raise_memory_alarm().await.unwrap();
    let ask = async || management.alarms(OPERATION).await.unwrap();
    let kinds = |alarms: &[Alarm]| alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>();
    awaited(ask, |alarms| kinds(alarms) == [AlarmKind::Memory]).await;
    server.clear_memory_alarm().await.unwrap();
    awaited(ask, Vec::is_empty).await;
}

#[tokio::test]
async fn who_is_refused_learns_why() {
    let server = server().await;
    let ask = async |user: &str, password: &str, vhost: &str| {
        let management = management_as(&server, user, password, vhost);
        management.queues(OPERATION, "").await.unwrap_err()
    };
    let error = ask("guest", "canary", "/").await;
    assert_eq!(error.kind(), ErrorKind::Auth);
    let expected = format!("the management API at {} refused the credentials", server.management_addr());
    assert_eq!(error.message(), expected);
    let error = ask("guest", "guest", "none").await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("none"), "{error}");

    for (user, tag) in [("untagged", ""), ("elsewhere", "management")] {
        server.ctl(&["add_user", user, "secret"]).await.unwrap();
        server.ctl(&["set_user_tags", user, tag]).await.unwrap();
        let error = ask(user, "secret", "/").await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.message().contains(user) && error.message().contains("`monitoring`"), "{error}");
    }
    let permissions = management_as(&server, "elsewhere", "secret", "/").permissions(OPERATION).await;
    assert_eq!(permissions.unwrap(), None);
}

#[tokio::test]
async fn a_restarted_server_is_asked_over_a_new_connection_and_a_frozen_one_is_late() {
    let mut server = server().await;
    let management = management(&server);
    management.version(OPERATION).await.unwrap();
    server.restart().await.unwrap();
    management.version(OPERATION).await.expect("the old connection was given up");

    server.stop().unwrap();
    let url = format!("http://{}", server.management_addr());
    let hasty = management_at(&url, &guest(), "/", Duration::from_millis(100));
    assert_eq!(hasty.version(OPERATION).await.unwrap_err().kind(), ErrorKind::Timeout);
    server.kill9().unwrap();
    let error = management.version(OPERATION).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains(&server.management_addr().to_string()), "{error}");
}

#[tokio::test]
async fn where_a_message_may_come_to_several_queues_is_found_out() {
    let server = server().await;
    let management = management(&server);
    let (_connection, channel) = connected(&server).await;
    let exchange = async |name: &'static str, alternate: Option<&'static str>| {
        let mut arguments = FieldTable::default();
        if let Some(alternate) = alternate {
            arguments.insert("alternate-exchange".into(), AMQPValue::LongString(alternate.into()));
        }
        let (kind, options) = (ExchangeKind::Fanout, ExchangeDeclareOptions::default());
        channel.exchange_declare(name.into(), kind, options, arguments).await.unwrap();
    };
    let bind = async |queue: &'static str, exchange: &'static str| {
        let options = QueueBindOptions::default();
        channel.queue_bind(queue.into(), exchange.into(), "".into(), options, FieldTable::default()).await.unwrap();
    };
    for queue in ["one", "other"] {
        declare(&channel, queue, "quorum").await;
    }
    exchange("single", None).await;
    exchange("relayed", None).await;
    exchange("alternate", Some("single")).await;
    let is_of_one = async |exchange: &str| management.exchange_refuses_for_good(OPERATION, exchange).await.unwrap();
    assert!(!is_of_one("missing").await && !is_of_one("single").await, "nobody knows which queue it was");
    bind("one", "single").await;
    bind("one", "alternate").await;
    let options = ExchangeBindOptions::default();
    channel.exchange_bind("single".into(), "relayed".into(), "".into(), options, FieldTable::default()).await.unwrap();
    let found = (is_of_one("single").await, is_of_one("relayed").await, is_of_one("alternate").await);
    assert_eq!(found, (true, false, false));
    bind("other", "single").await;
    assert!(!is_of_one("single").await);
    let mut arguments = FieldTable::default();
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish-dlx".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("dead-lettering".into(), options, arguments).await.unwrap();
    exchange("to-dead-lettering", None).await;
    bind("dead-lettering", "to-dead-lettering").await;
    assert!(!is_of_one("to-dead-lettering").await, "what it refuses is among its dead letters");
    let found = async |queue: &str| management.queue_refuses_for_good(OPERATION, queue).await.unwrap();
    assert_eq!((found("dead-lettering").await, found("one").await, found("missing").await), (false, true, false));
    declare(&channel, "classic", "classic").await;
    assert!(!found("classic").await, "it may have what was on its way to a node that is lost");
}

#[tokio::test]
async fn the_port_of_amqp_is_no_management_api() {
    let server = server().await;
    let wrong = management_at(&format!("http://{}", server.addr()), &guest(), "/", ANSWER_LIMIT);
    let error = wrong.version(OPERATION).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broker, "{error:?}");
    assert!(error.message().contains("not RabbitMQ's management API"), "{error}");
    // RabbitMQ says of a wrong path what it says of a missing queue.
    let url = format!("http://{}/elsewhere", server.management_addr());
    let wrong = management_at(&url, &guest(), "/", ANSWER_LIMIT);
    let error = wrong.queue(OPERATION, "none").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broker, "{error:?}");
}

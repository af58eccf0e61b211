//! On a real server: what comes later is stored later, whatever becomes of the way there.

use integration_tests::proxy::{Direction, Proxy};
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::*;
use crate::RabbitConfig;
use crate::errand::Errand;
use crate::mover::Mover;

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to publish something.
const A_WHILE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_overtakes_what_is_on_its_way_by_a_connection_that_was_given_up() {
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let (slow, way) = (Proxy::start(server.addr()).await.unwrap(), Proxy::start(server.addr()).await.unwrap());
    way.lead_to(slow.addr());
    let url = format!("amqp://guest:guest@{}/%2f?heartbeat=60&exchange=default&queue=taken", way.addr());
    let config = Arc::new(RabbitConfig::from_url(&url).unwrap());
    let [control, publishing] = ["control", "publisher"].map(|name| Arc::new(Connection::new(config.clone(), name)));
    let errand = Errand::begin(&control, "test").await.unwrap();
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    errand.call(errand.channel().queue_declare("taken".into(), options, FieldTable::default())).await.unwrap();
    let mover = Arc::new(Mover::new(publishing.clone()));
    let brokers = Arc::new(Brokers { control: control.clone(), publishing, mover, management: None });
    let sink = RabbitSink::new(brokers.clone(), &"s".parse().unwrap(), true);
    let publish = async |text: &'static str| {
        let answers = tokio::time::timeout(PATIENCE, sink.publish(&[Message::new(text)])).await.expect("an end of it");
        answers.into_iter().map(|answer| answer.is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(publish("first").await, [true]);

    slow.set_hold(&[Direction::FromClient]);
    let held = publish("second");
    tokio::pin!(held);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut held).await.is_err(), "it is on its way");
    // The next connection has another way.
    way.lead_to(server.addr());
    brokers.publishing.give_up(&brokers.publishing.link("test").await.unwrap());
    for _ in 0..2 {
        let impatient = tokio::time::timeout(A_WHILE, publish("of one who gives it up"));
        assert!(impatient.await.is_err(), "it waits for the second");
    }
    let last = async {
        let last = publish("last");
        tokio::pin!(last);
        assert!(tokio::time::timeout(A_WHILE, &mut last).await.is_err(), "it waits for the second");
        slow.heal();
        last.await
    };
    assert_eq!(tokio::join!(held, last), (vec![true], vec![true]));

    let mut stored = Vec::new();
    while let Some(got) = errand.channel().basic_get("taken".into(), BasicGetOptions::default()).await.unwrap() {
        stored.push(String::from_utf8(got.delivery.data).unwrap());
    }
    assert_eq!(stored, ["first", "second", "last"]);
}

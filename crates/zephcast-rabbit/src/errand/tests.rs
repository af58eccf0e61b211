//! On a real server: what is refused costs nobody else anything, however often.

use integration_tests::proxy::Proxy;
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::*;
use crate::RabbitConfig;
use crate::lab::{Lab, PATIENCE};
use crate::topology;

/// More than there are numbers for channels, by the server's default of 2,047.
const REFUSALS: usize = 2_100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_never_make_the_answer_to_a_later_question() {
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let config = RabbitConfig::from_url(&server.url()).unwrap();
    let connection = Connection::new(Arc::new(config), "test");
    let errand = Errand::begin(&connection, "declare").await.unwrap();
    let declared =
        errand.channel().queue_declare("there".into(), QueueDeclareOptions::default(), FieldTable::default());
    errand.call(declared).await.unwrap();
    for number in 0..REFUSALS {
        assert_eq!(topology::queue(&connection, "test", "nowhere").await.unwrap(), None, "{number}");
    }
    assert_eq!(topology::queue(&connection, "test", "there").await.unwrap(), Some((0, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_nobody_waits_for_any_more_costs_the_channel_alone() {
    const WAY: Duration = Duration::from_millis(20);
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let connection = Connection::new(Arc::new(RabbitConfig::new("127.0.0.1", proxy.addr().port())), "test");
    let link = connection.link("test").await.unwrap();
    proxy.set_latency(WAY);
    for part in 0..20 {
        let errand = Errand::begin(&connection, "ask").await.unwrap();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = errand.call(errand.channel().queue_declare("nowhere".into(), options, FieldTable::default()));
        // Given up while the question or the refusal is on its way.
        let given_up = tokio::time::timeout(WAY * 2 * part / 20, asked).await;
        assert!(!matches!(given_up, Ok(Ok(_))), "there is no such queue");
        drop(errand);
        assert_eq!(topology::queue(&connection, "test", "nowhere").await.unwrap(), None, "{part}");
    }
    assert!(Arc::ptr_eq(&link, &connection.link("test").await.unwrap()), "it is the same connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_nobody_waits_for_any_more_is_gone() {
    const WAY: Duration = Duration::from_millis(20);
    const QUEUE: &str = "there";
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let connection = Connection::new(Arc::new(RabbitConfig::new("127.0.0.1", proxy.addr().port())), "test");
    let errand = Errand::begin(&connection, "declare").await.unwrap();
    errand.call(errand.channel().queue_declare(QUEUE.into(), <_>::default(), FieldTable::default())).await.unwrap();
    proxy.set_latency(WAY);
    for part in 0..10 {
        let errand = Errand::begin(&connection, "consume").await.unwrap();
        let consumed = errand.channel().basic_consume(QUEUE.into(), "".into(), <_>::default(), FieldTable::default());
        // Given up while the question or its answer is on its way.
        drop(tokio::time::timeout(WAY * 2 * part / 10, errand.call(consumed)).await);
    }
    let gone = async { while topology::queue(&connection, "test", QUEUE).await.unwrap() != Some((0, 0)) {} };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("nobody consumes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_never_out_of_sight_when_its_reader_is_given_up() {
    const WAY: Duration = Duration::from_millis(20);
    const MESSAGES: u32 = 3;
    let lab = Lab::start().await;
    let others = Connection::new(Arc::new(RabbitConfig::from_url(&lab.server.url()).unwrap()), "test");
    let declaring = Errand::begin(&others, "declare").await.unwrap();
    declaring.call(declaring.channel().queue_declare("q".into(), <_>::default(), <_>::default())).await.unwrap();
    for _ in 0..MESSAGES {
        lab.publish("q").await;
    }
    let proxy = Proxy::start(lab.server.addr()).await.unwrap();
    let connection = Connection::new(Arc::new(RabbitConfig::new("127.0.0.1", proxy.addr().port())), "test");
    let mut errand = Errand::begin(&connection, "read").await.unwrap();
    errand.read("q").await.unwrap();
    let figures = async || topology::queue(&others, "test", "q").await.unwrap().expect("is there");
    let read = async { while figures().await != (0, 1) {} };
    tokio::time::timeout(PATIENCE, read).await.expect("is on its way to the reader");
    proxy.set_latency(WAY);
    let look = tokio::time::timeout(WAY, topology::figures(&errand, "q")).await;
    assert!(look.is_err(), "given up while it is on its way");
    drop(errand);
    let back = async {
        // Whoever sees neither messages nor a reader takes the queue for empty.
        while let (0, consumers) = figures().await {
            assert_eq!(consumers, 1);
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("goes back");
}

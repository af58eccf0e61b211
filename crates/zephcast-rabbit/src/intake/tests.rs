//! On a real server: a member that always has something to do.

use std::time::Duration;

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, ConnectionProperties};
use zephcast_core::driver::{Driver, Incoming, Membership, Settlement, Subscription, UnitSettlements};
use zephcast_core::{Message, StreamName};

use super::*;
use crate::{RabbitConfig, RabbitDriver};

const PATIENCE: Duration = Duration::from_secs(20);
const FULL: Credit = Credit { messages: 0, bytes: 0, suspect: false };
const ROOM: Credit = Credit { messages: 1, bytes: 1 << 20, suspect: false };

async fn fetch(member: &mut Membership, credit: Credit) -> Fetched {
    tokio::time::timeout(PATIENCE, member.intake.fetch(credit)).await.unwrap().unwrap()
}

/// The window is full for as long as a handler works.
async fn handle(member: &mut Membership, messages: Vec<Incoming>) {
    const WORK: Duration = Duration::from_millis(100);
    let work = async {
        tokio::time::sleep(WORK).await;
        member.settler.interrupt();
    };
    let (fetched, ()) = tokio::join!(member.intake.fetch(FULL), work);
    assert!(matches!(fetched, Ok(Fetched::Idle)), "{fetched:?}");
    let acked = messages.iter().map(|incoming| incoming.token).collect();
    let units = vec![UnitSettlements { acked, ..UnitSettlements::new(UNIT) }];
    assert_eq!(member.settler.settle(&Settlement { again: false, units }).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspects_have_their_turn_amid_a_backlog_that_is_handled_slowly() {
    const BACKLOG: usize = 100;
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let driver = RabbitDriver::connect(RabbitConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let stream: StreamName = "s".parse().unwrap();
    let mut subscription = Subscription::new(stream.clone(), "g".parse().unwrap());
    subscription.prefetch = 4;
    let mut member = driver.join(subscription).await.unwrap();
    let sink = driver.open_sink(&stream, false).await.unwrap();
    let backlog = vec![Message::new("x"); BACKLOG];
    assert!(sink.publish(&backlog).await.iter().all(Result::is_ok));
    let mut messages = loop {
        if let Fetched::Batch(batch) = fetch(&mut member, ROOM).await {
            break batch.messages;
        }
    };
    // Another member moves one there, after this one had looked.
    let url = format!("amqp://guest:guest@{}/%2f", server.addr());
    let other = lapin::Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = other.create_channel().await.unwrap();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("".into(), "s.g.suspects".into(), options, b"x", properties).await.unwrap();
    for handled in 1.. {
        assert!(handled < BACKLOG, "nobody looked");
        handle(&mut member, messages).await;
        messages = match fetch(&mut member, ROOM).await {
            Fetched::Batch(batch) => batch.messages,
            Fetched::Suspects => break,
            other => panic!("{other:?}"),
        };
    }
    let suspect = Credit { suspect: true, ..ROOM };
    assert!(matches!(fetch(&mut member, suspect).await, Fetched::Batch(batch) if batch.unit == SUSPECTS));
    let Fetched::Batch(batch) = fetch(&mut member, ROOM).await else { panic!("others have their turn then") };
    assert_eq!(batch.unit, UNIT);
}

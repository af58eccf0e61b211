//! On a real server: the same settlement twice is one.

use std::time::Duration;

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use zephcast_core::driver::{Credit, Driver, Failure, Fetched, Incoming, Subscription};
use zephcast_core::{Message, MessageId, Position, PositionStyle};

use super::*;
use crate::{RabbitConfig, RabbitDriver, topology};

fn dead(incoming: &Incoming) -> Settlement {
    let failure = Failure { reason: "no".into(), first_failed_ms: 1, last_failed_ms: 2 };
    let disposition = Disposition::Dead {
        message: Box::new(incoming.message.clone()),
        origin: Position::new(PositionStyle::Tag, UNIT, incoming.token),
        published_ms: incoming.published_ms,
        attempts: 1,
        failure,
    };
    let others = vec![(incoming.token, disposition)];
    Settlement { again: false, units: vec![UnitSettlements { others, ..UnitSettlements::new(UNIT) }] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_again_after_an_answer_that_was_lost_is_not_copied_again() {
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let config = RabbitConfig::from_url(&server.url()).unwrap();
    let driver = RabbitDriver::connect(config.clone()).await.unwrap();
    let stream: zephcast_core::StreamName = "s".parse().unwrap();
    let mut member = driver.join(Subscription::new(stream.clone(), "g".parse().unwrap())).await.unwrap();
    let sink = driver.open_sink(&stream, false).await.unwrap();
    let message = Message::new("x").with_id(MessageId::new("one"));
    assert!(sink.publish(&[message]).await[0].is_ok());
    let credit = Credit { messages: 10, bytes: 1 << 20, suspect: false };
    let incoming = loop {
        let fetched = tokio::time::timeout(Duration::from_secs(20), member.intake.fetch(credit)).await.unwrap();
        if let Fetched::Batch(mut batch) = fetched.unwrap() {
            break batch.messages.remove(0);
        }
    };
    let settlement = dead(&incoming);
    assert_eq!(member.settler.settle(&settlement).await.unwrap(), []);
    let again = Settlement { again: true, ..settlement };
    assert_eq!(member.settler.settle(&again).await.unwrap(), []);
    let control = crate::connection::Connection::new(Arc::new(config), "test");
    assert_eq!(topology::queue(&control, "test", "s.g.dead").await.unwrap(), Some((1, 0)));
}

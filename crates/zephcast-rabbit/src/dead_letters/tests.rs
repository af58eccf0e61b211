use std::sync::Arc;

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use zephcast_core::driver::{Driver, Redrive, StreamSpec};
use zephcast_core::{ErrorKind, PositionStyle, Start, Token};

use super::*;
use crate::connection::Connection;
use crate::member::UNIT;
use crate::{RabbitConfig, RabbitDriver};

#[tokio::test]
async fn many_are_sent_back_at_once_as_they_were_asked_for() {
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let driver = RabbitDriver::connect(RabbitConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let (admin, stream, group) = (driver.admin(), "s".parse().unwrap(), "g".parse().unwrap());
    let nothing = admin.redrive_some(&stream, &group, &[]).await;
    assert!(nothing.is_empty());
    admin.create_stream(&StreamSpec::new(stream.clone())).await.unwrap();
    let place = Position::new(PositionStyle::Tag, UNIT, Token(0, 1));
    let unknown = admin.redrive_some(&stream, &group, &[place, place]).await;
    let is_missing = |answer: &Result<Redrive>| matches!(answer, Err(error) if error.kind() == ErrorKind::NotFound);
    assert!(unknown.len() == 2 && unknown.iter().all(is_missing), "{unknown:?}");
    admin.create_group(&stream, &group, Start::Earliest).await.unwrap();

    // As another program would put them there: of two that are alike nothing tells which is which.
    let config = Arc::new(RabbitConfig::from_url(&server.url()).unwrap());
    let connection = Connection::new(config, "test");
    let (_link, channel) = connection.channel("test").await.unwrap();
    let large = "b".repeat(700_000);
    for payload in ["a", &large, "a", "other", &large] {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish("".into(), "s.g.dead".into(), options, payload.as_bytes(), properties).await.unwrap();
    }
    let letters = loop {
        let letters = admin.dead_letters(&stream, &group, None, 9).await.unwrap();
        if letters.len() == 5 {
            break letters;
        }
    };
    let of = |payload: &str| letters.iter().find(|letter| letter.message.payload() == payload.as_bytes()).unwrap();
    let (a, b) = (of("a").position, of(&large).position);
    let mut answers = admin.redrive_some(&stream, &group, &[b, a, place, a, b, a]).await;
    let answers: Vec<Redrive> = answers.drain(..).map(Result::unwrap).collect();
    let [redriven, gone] = [Redrive::Redriven, Redrive::Gone];
    assert_eq!(answers, [redriven, redriven, gone, redriven, redriven, gone]);
    let left = admin.dead_letters(&stream, &group, None, 9).await.unwrap();
    assert_eq!(left.iter().map(|letter| &letter.message.payload()[..]).collect::<Vec<_>>(), [b"other"]);
    let status = driver.group_status(&stream, &group).await.unwrap();
    assert_eq!((status.lag, status.dead_letters), (Some(4), Some(1)));
}

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use zephcast_core::driver::{Driver, Redrive, StreamSpec};
use zephcast_core::{ErrorKind, PositionStyle, Start, StreamName, Token};

use super::armful::Limits;
use super::*;
use crate::connection::Connection;
use crate::member::UNIT;
use crate::mover::Mover;
use crate::properties::Outgoing;
use crate::topology;
use crate::{RabbitConfig, RabbitDriver};

/// The longest that anything awaited here may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn many_are_sent_back_at_once_as_they_were_asked_for() {
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let driver = RabbitDriver::connect(RabbitConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let (admin, stream, group) = (driver.admin(), "s".parse().unwrap(), "g".parse().unwrap());
    let nothing = admin.redrive_some(&stream, &group, &[]).await;
    assert!(nothing.is_empty());
    admin.create_stream(&StreamSpec::new(stream.clone())).await.unwrap();
    let place = Position::new(PositionStyle::EntryId, UNIT, Token(0, 1));
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

/// As another program would put them there.
#[tokio::test]
async fn alike_letters_have_places_of_their_own_and_are_sent_back_page_by_page() {
    const ALL: usize = 12;
    const AT_ONCE: usize = 5;
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let config = RabbitConfig::from_url(&server.url()).unwrap();
    let driver = RabbitDriver::connect(config.clone()).await.unwrap();
    let (admin, stream, group) = (driver.admin(), "s".parse::<StreamName>().unwrap(), "g".parse().unwrap());
    admin.create_stream(&StreamSpec::new(stream.clone())).await.unwrap();
    admin.create_group(&stream, &group, Start::Earliest).await.unwrap();
    let mover = Mover::new(Arc::new(Connection::new(Arc::new(config), "test")));
    let put = async |payload: &'static str, count| {
        let alike = || Outgoing::to_queue("s.g.dead", BasicProperties::default(), payload);
        for stored in mover.store("test", (0..count).map(|_| alike()).collect()).await.unwrap() {
            stored.unwrap();
        }
    };
    put("alike", ALL).await;
    put("other", 1).await;
    let page = async |after| {
        let letters = admin.dead_letters(&stream, &group, after, AT_ONCE).await.unwrap();
        letters.into_iter().map(|letter| letter.position).collect::<Vec<_>>()
    };

    let mut all = Vec::new();
    loop {
        let places = page(all.last().copied()).await;
        if places.is_empty() {
            break;
        }
        all.extend(places);
        assert!(all.len() <= ALL + 1, "the pages repeat themselves: {all:?}");
    }
    let distinct: HashSet<&Position> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (ALL + 1, ALL + 1), "{all:?}");

    // One after the other from the first on: each is there as long as it was not sent back.
    assert_eq!(admin.redrive(&stream, &group, all[0]).await.unwrap(), Redrive::Redriven);
    assert_eq!(page(None).await, all[1..=AT_ONCE]);
    let (mut after, mut redriven) = (None, 1);
    loop {
        let places = page(after).await;
        let Some(last) = places.last() else { break };
        after = Some(*last);
        for answer in admin.redrive_some(&stream, &group, &places).await {
            assert_eq!(answer.unwrap(), Redrive::Redriven);
            redriven += 1;
        }
    }
    assert_eq!((redriven, page(None).await), (ALL + 1, Vec::new()));
    assert_eq!(admin.redrive(&stream, &group, all[1]).await.unwrap(), Redrive::Gone);
    let status = driver.group_status(&stream, &group).await.unwrap();
    assert_eq!((status.lag, status.dead_letters), (Some(ALL as u64 + 1), Some(0)));
}

/// Far more acks than a channel of the server has under way to a queue, with letters left for whoever takes one too many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_one_of_many_is_sent_back_and_the_rest_stays_in_order() {
    const ALL: usize = 3_000;
    const WANTED: usize = 1_000;
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let config = RabbitConfig::from_url(&server.url()).unwrap();
    let driver = RabbitDriver::connect(config.clone()).await.unwrap();
    let (admin, stream, group) = (driver.admin(), "s".parse::<StreamName>().unwrap(), "g".parse().unwrap());
    admin.create_stream(&StreamSpec::new(stream.clone())).await.unwrap();
    admin.create_group(&stream, &group, Start::Earliest).await.unwrap();
    let mover = Mover::new(Arc::new(Connection::new(Arc::new(config), "test")));
    put(&mover, "s.g.dead", ALL).await;
    let list = async || {
        let letters = admin.dead_letters(&stream, &group, None, ALL).await.unwrap();
        let number = |payload: &[u8]| std::str::from_utf8(payload).unwrap().parse::<usize>().unwrap();
        letters.into_iter().map(|letter| (number(letter.message.payload()), letter.position)).collect::<Vec<_>>()
    };
    let letters = list().await;
    assert!(letters.iter().map(|(number, _)| *number).eq(0..ALL));
    let wanted: Vec<Position> = letters.iter().step_by(2).take(WANTED).map(|(_, position)| *position).collect();
    let answers = admin.redrive_some(&stream, &group, &wanted).await;
    let failed: Vec<_> = answers.iter().filter(|answer| !matches!(answer, Ok(Redrive::Redriven))).collect();
    assert!(answers.len() == WANTED && failed.is_empty(), "{failed:?}");
    // The others that it saw go behind those that it did not.
    let last = 2 * (WANTED - 1);
    let left = list().await.into_iter().map(|(number, _)| number);
    assert!(left.eq((last + 1..ALL).chain((1..last).step_by(2))));
}

/// What is told to be redriven is with its group, also when the rest is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_amid_which_the_server_dies_tells_what_it_did() {
    const ALL: usize = 2_000;
    let mut server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let config = RabbitConfig::from_url(&server.url()).unwrap();
    let driver = RabbitDriver::connect(config.clone()).await.unwrap();
    let (admin, stream, group) = (driver.admin(), "s".parse::<StreamName>().unwrap(), "g".parse().unwrap());
    admin.create_stream(&StreamSpec::new(stream.clone())).await.unwrap();
    admin.create_group(&stream, &group, Start::Earliest).await.unwrap();
    server.write_down().await.unwrap();
    let connection = Arc::new(Connection::new(Arc::new(config.clone()), "test"));
    put(&Mover::new(connection.clone()), "s.g.dead", ALL).await;
    let letters = admin.dead_letters(&stream, &group, None, ALL).await.unwrap();
    let all: Vec<Position> = letters.iter().map(|letter| letter.position).collect();
    let ready = async |connection: &Connection| {
        topology::queue(connection, "test", "s.g").await.unwrap().map_or(0, |(ready, _)| ready)
    };
    // More than are sent back at a time, so that some are told.
    let some_are_back = async {
        while ready(&connection).await < ALL as u64 / 4 {
            tokio::task::yield_now().await;
        }
        server.kill9().unwrap();
    };
    let (answers, ()) = tokio::join!(admin.redrive_some(&stream, &group, &all), some_are_back);
    let redriven = answers.iter().filter(|answer| matches!(answer, Ok(Redrive::Redriven))).count();
    assert!(redriven > 0 && answers.iter().any(Result::is_err), "{redriven} of {}", answers.len());
    server.restart().await.unwrap();
    let fresh = Connection::new(Arc::new(config), "test");
    // The queue reads its log after the server is up.
    let all_are_back = async {
        while ready(&fresh).await < redriven as u64 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all_are_back)
        .await
        .unwrap_or_else(|_| panic!("{redriven} are told, and fewer are back"));
}

async fn put(mover: &Mover, queue: &str, count: usize) {
    let copies = (0..count).map(|number| Outgoing::to_queue(queue, BasicProperties::default(), number.to_string()));
    for stored in mover.store("test", copies.collect()).await.unwrap() {
        stored.unwrap();
    }
}

/// As many as take many consumers of several channels.
#[tokio::test]
async fn a_look_gives_all_back_in_order() {
    let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
    let config = Arc::new(RabbitConfig::from_url(&server.url()).unwrap());
    let control = Arc::new(Connection::new(config.clone(), "test"));
    let (stream, group) = ("s".parse().unwrap(), "g".parse().unwrap());
    let names = Names::new(&config, &stream, &group).unwrap();
    let mover = Arc::new(Mover::new(control.clone()));
    let brokers = Brokers { control: control.clone(), publishing: control, mover, management: None };
    topology::group(&brokers.control, None, "test", &config, &names, true, None).await.unwrap();
    put(&brokers.mover, &names.dead, 100).await;
    let limits = Limits { consumers: 3, many: 7 };
    let all: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for _ in 0..3 {
        let mut look = Look::within(limits, &brokers, &names);
        assert_eq!(taken(&mut look, usize::MAX).await, all);
        look.close().await.unwrap();
    }
    // Also with something settled, which is gone then.
    let mut look = Look::within(limits, &brokers, &names);
    assert_eq!(taken(&mut look, 8).await, all[..8]);
    for tag in [1, 3] {
        let settled = look.taken(tag);
        look.settle(settled).await.unwrap();
    }
    assert_eq!(taken(&mut look, usize::MAX).await, all[8..]);
    look.close().await.unwrap();
    let mut look = Look::within(limits, &brokers, &names);
    let left = [&all[1..2], &all[3..]].concat();
    assert_eq!(taken(&mut look, usize::MAX).await, left);
    look.close().await.unwrap();
    // Who can do with three takes no others along.
    let mut look = Look::within(limits, &brokers, &names);
    for wanted in (1..=3).rev() {
        let delivery = look.next_of(wanted).await.unwrap().unwrap();
        let settled = look.taken(delivery.delivery_tag);
        if look.rests() {
            look.settle(settled).await.unwrap();
        }
    }
    look.close().await.unwrap();
    let mut look = Look::within(limits, &brokers, &names);
    let rest = taken(&mut look, usize::MAX).await;
    assert_eq!(rest, [&left[3..], &left[1..2]].concat(), "but one that was with them");
    look.close().await.unwrap();
    // What comes in the course of a look is for the next one.
    let mut look = Look::within(limits, &brokers, &names);
    let first = taken(&mut look, 1).await;
    let late = Outgoing::to_queue(&names.dead, BasicProperties::default(), "late");
    for stored in brokers.mover.store("test", vec![late]).await.unwrap() {
        stored.unwrap();
    }
    assert_eq!([first, taken(&mut look, usize::MAX).await].concat(), rest);
    look.close().await.unwrap();
    let mut look = Look::within(limits, &brokers, &names);
    assert_eq!(taken(&mut look, usize::MAX).await, [rest, vec!["late".to_owned()]].concat());
    look.close().await.unwrap();
}

/// What so many letters say.
async fn taken(look: &mut Look<'_>, most: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < most
        && let Some(delivery) = look.next().await.unwrap()
    {
        all.push(String::from_utf8(delivery.data).unwrap());
    }
    all
}

//! Dead letters.

use crate::foreign::{groups_of, payloads_of};
use crate::prelude::*;

/// A stream with a group, and so many dead letters.
async fn with_letters(driver: &KafkaDriver, count: u32) -> (StreamName, GroupName) {
    let stream = stream(driver, 2).await;
    let group = unique_group();
    driver.admin().create_group(&stream, &group, Start::Earliest).await.unwrap();
    let dead = StreamName::new(format!("{stream}.{group}.dead")).unwrap();
    let mut spec = StreamSpec::new(dead.clone());
    spec.partitions = Some(1);
    driver.admin().create_stream(&spec).await.unwrap();
    for number in 0..count {
        let origin = format!("{stream}@1:{number}");
        let headers = [
            ("zephcast-reason", b"broken".as_slice()),
            ("zephcast-attempts", b"5"),
            ("zephcast-origin", origin.as_bytes()),
            ("trace", b"t"),
        ];
        produce_to(dead.as_str(), 0, number.to_string().as_bytes(), &headers).await;
    }
    (stream, group)
}

async fn listed(driver: &KafkaDriver, stream: &StreamName, group: &GroupName) -> Vec<String> {
    let letters = driver.admin().dead_letters(stream, group, None, 100).await.unwrap();
    letters.iter().map(|letter| letter.position.to_string()).collect()
}

async fn counted(driver: &KafkaDriver, stream: &StreamName, group: &GroupName) -> u64 {
    driver.group_status(stream, group).await.unwrap().dead_letters.unwrap()
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page() {
    let driver = driver().await;
    let (stream, group) = with_letters(&driver, 5).await;
    let first = driver.admin().dead_letters(&stream, &group, None, 2).await.unwrap();
    let letter = &first[1];
    assert_eq!((letter.reason.as_str(), letter.attempts), ("broken", 5));
    assert_eq!(letter.origin, format!("{stream}@1:1"));
    assert_eq!(letter.message.payload(), "1");
    assert_eq!(letter.message.headers().len(), 1);
    let rest = driver.admin().dead_letters(&stream, &group, Some(letter.position), 9).await.unwrap();
    let places: Vec<_> = rest.iter().map(|letter| letter.position.to_string()).collect();
    assert_eq!(places, ["0:2", "0:3", "0:4"]);
    assert_eq!(counted(&driver, &stream, &group).await, 5);
}

#[tokio::test]
async fn a_redriven_one_is_with_its_group_and_not_among_the_dead() {
    let driver = driver().await;
    let (stream, group) = with_letters(&driver, 5).await;
    let admin = driver.admin();
    for offset in [3, 1] {
        assert_eq!(admin.redrive(&stream, &group, at(0, offset)).await.unwrap(), Redrive::Redriven);
        assert_eq!(admin.redrive(&stream, &group, at(0, offset)).await.unwrap(), Redrive::Gone);
    }
    assert_eq!(listed(&driver, &stream, &group).await, ["0:0", "0:2", "0:4"]);
    assert_eq!(counted(&driver, &stream, &group).await, 3);
    assert_eq!(admin.redrive(&stream, &group, at(0, 0)).await.unwrap(), Redrive::Redriven);
    assert_eq!(listed(&driver, &stream, &group).await, ["0:2", "0:4"]);
    for gone in [at(0, 0), at(0, 99), at(7, 0)] {
        assert_eq!(admin.redrive(&stream, &group, gone).await.unwrap(), Redrive::Gone, "{gone}");
    }
    let status = driver.group_status(&stream, &group).await.unwrap();
    assert_eq!((status.lag, status.delayed, status.dead_letters), (Some(3), Some(3), Some(2)));
    let mut back = payloads_of(&format!("{stream}.{group}.retry-now"), 3).await;
    back.sort_unstable();
    assert_eq!(back, ["0", "1", "3"]);
    assert_eq!(admin.purge_dead_letters(&stream, &group).await.unwrap(), 2);
    assert_eq!(admin.purge_dead_letters(&stream, &group).await.unwrap(), 0);
    assert!(listed(&driver, &stream, &group).await.is_empty());
    assert_eq!(counted(&driver, &stream, &group).await, 0);
    assert_eq!(groups_of(stream.as_str()).len(), 1);
    admin.delete_stream(&stream).await.unwrap();
    assert!(groups_of(stream.as_str()).is_empty());
    assert!(groups_of(group.as_str()).is_empty());
}

#[tokio::test]
async fn many_who_redrive_one_send_it_once() {
    let driver = driver().await;
    let (stream, group) = with_letters(&driver, 1).await;
    let all = (0..4).map(|_| driver.admin().redrive(&stream, &group, at(0, 0)));
    let all = futures_util::future::join_all(all).await;
    let redriven = all.iter().filter(|outcome| matches!(outcome, Ok(Redrive::Redriven))).count();
    assert_eq!(redriven, 1, "{all:?}");
    assert_eq!(driver.group_status(&stream, &group).await.unwrap().lag, Some(1));
}

#[tokio::test]
async fn redriving_takes_no_long_time() {
    let driver = driver().await;
    let (stream, group) = with_letters(&driver, 10).await;
    let began = Instant::now();
    for offset in 0..10 {
        assert_eq!(driver.admin().redrive(&stream, &group, at(0, offset)).await.unwrap(), Redrive::Redriven);
    }
    eprintln!("10 redriven in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

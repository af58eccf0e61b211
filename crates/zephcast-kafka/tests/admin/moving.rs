//! Groups that are moved or deleted, as plain programs of Kafka see it.

use crate::foreign::{Foreign, groups_of};
use crate::prelude::*;

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

/// Where the group is in each partition, as it is committed.
async fn committed(driver: &KafkaDriver, stream: &StreamName, group: &GroupName) -> Vec<String> {
    let status = driver.group_status(stream, group).await.unwrap();
    status.units.into_iter().map(|unit| unit.committed.unwrap_or_else(|| "nothing".into())).collect()
}

#[tokio::test]
async fn a_moved_group_is_there_in_every_partition() {
    let driver = driver().await;
    let (stream, group) = (stream(&driver, 2).await, unique_group());
    produce(stream.as_str(), 0, numbers(0..5)).await;
    produce(stream.as_str(), 1, numbers(5..8)).await;
    let admin = driver.admin();
    // Of the first partitions, two are gone from the log.
    admin.create_group(&stream, &group, Start::Position(at(0, 2))).await.unwrap();
    assert_eq!(admin.trim(&stream).await.unwrap(), 2);
    for (to, places) in [
        (Start::Latest, ["5", "3"]),
        (Start::Earliest, ["2", "0"]),
        (Start::Time(u64::MAX), ["5", "3"]),
        (Start::Time(0), ["2", "0"]),
        (Start::Position(at(1, 1)), ["5", "1"]),
        (Start::Position(at(0, 0)), ["2", "0"]),
    ] {
        admin.seek_group(&stream, &group, to).await.unwrap();
        assert_eq!(committed(&driver, &stream, &group).await, places, "{to:?}");
    }
    for bad in [at(2, 0), at(0, 6), Position::new(PositionStyle::EntryId, UnitId(0), Token(1, 0))] {
        let error = admin.seek_group(&stream, &group, Start::Position(bad)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    admin.seek_group(&stream, &group, Start::Position(at(1, 1))).await.unwrap();
    let plain = Foreign::join(stream.as_str(), &group, "plain", &[]);
    assert_eq!(plain.consume(2).await, ["6", "7"]);
    for refusal in [admin.seek_group(&stream, &group, Start::Earliest).await, admin.delete_group(&stream, &group).await]
    {
        let error = refusal.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("\"plain\""), "{error}");
    }
    assert_eq!(committed(&driver, &stream, &group).await, ["5", "3"]);
    plain.leave().await;
    admin.delete_stream(&stream).await.unwrap();
}

#[tokio::test]
async fn what_was_known_of_the_former_places_is_forgotten() {
    let driver = driver().await;
    let (stream, group) = (stream(&driver, 1).await, unique_group());
    produce(stream.as_str(), 0, numbers(0..5)).await;
    let client = zephcast_core::Client::new(driver.clone());
    let mut consumer = client.consumer(&stream).group(&group).start().await.unwrap();
    let mut held = Vec::new();
    while held.len() < 5 {
        held.push(consumer.next().await.expect("no end").expect("a delivery"));
    }
    held.remove(3).ack_confirmed().await.unwrap();
    consumer.close(Duration::from_millis(200)).await.unwrap();
    let lag = async || driver.group_status(&stream, &group).await.unwrap().lag;
    assert_eq!(lag().await, Some(4), "one is settled behind the first open one");
    driver.admin().seek_group(&stream, &group, Start::Earliest).await.unwrap();
    assert_eq!(lag().await, Some(5));
    driver.admin().delete_stream(&stream).await.unwrap();
}

#[tokio::test]
async fn a_deleted_group_leaves_no_topic_and_no_group() {
    let driver = driver().await;
    let (stream, group) = (stream(&driver, 1).await, unique_group());
    let admin = driver.admin();
    admin.create_group(&stream, &group, Start::Earliest).await.unwrap();
    let helper = |kind| StreamName::new(format!("{stream}.{group}.{kind}")).unwrap();
    for kind in ["dead", "retry-now", "retry-10s"] {
        produce_helper(&driver, &helper(kind)).await;
    }
    // Some of it is removed, which a group of the topic's own name remembers.
    assert_eq!(admin.redrive(&stream, &group, at(0, 1)).await.unwrap(), Redrive::Redriven);
    assert_eq!(groups_of(helper("dead").as_str()), [helper("dead").as_str()]);
    admin.delete_group(&stream, &group).await.unwrap();
    for kind in ["dead", "retry-now", "retry-10s"] {
        assert_eq!(admin.stream(&helper(kind)).await.unwrap_err().kind(), ErrorKind::NotFound, "{kind}");
    }
    assert_eq!(groups_of(helper("dead").as_str()), Vec::<String>::new());
    assert_eq!(groups_of(group.as_str()), Vec::<String>::new());
    assert_eq!(admin.delete_group(&stream, &group).await.unwrap_err().kind(), ErrorKind::NotFound);
    // What an earlier call left behind is deleted too.
    produce_helper(&driver, &helper("dead")).await;
    admin.delete_group(&stream, &group).await.unwrap();
    assert_eq!(admin.stream(&helper("dead")).await.unwrap_err().kind(), ErrorKind::NotFound);
    admin.delete_stream(&stream).await.unwrap();
}

async fn produce_helper(driver: &KafkaDriver, topic: &StreamName) {
    driver.open_sink(topic, true).await.map(drop).unwrap();
    produce(topic.as_str(), 0, numbers(0..3)).await;
}

#[tokio::test]
async fn an_id_that_streams_share_stays_with_the_others() {
    let driver = driver().await;
    let (here, elsewhere, group) = (stream(&driver, 1).await, stream(&driver, 1).await, unique_group());
    let admin = driver.admin();
    for stream in [&here, &elsewhere] {
        produce(stream.as_str(), 0, numbers(0..3)).await;
        admin.create_group(stream, &group, Start::Latest).await.unwrap();
    }
    admin.seek_group(&here, &group, Start::Earliest).await.unwrap();
    assert_eq!(committed(&driver, &elsewhere, &group).await, ["3"]);
    let plain = Foreign::join(elsewhere.as_str(), &group, "elsewhere", &[]);
    Foreign::share(&[&plain]).await;
    // Only members may commit for an id that has some, wherever they consume.
    let error = admin.seek_group(&here, &group, Start::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("other streams (elsewhere)"), "{error}");
    let error = admin.delete_group(&elsewhere, &group).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    // Forgetting is not committing.
    admin.delete_group(&here, &group).await.unwrap();
    assert_eq!(driver.group_status(&here, &group).await.unwrap_err().kind(), ErrorKind::NotFound);
    plain.leave().await;
    assert_eq!(committed(&driver, &elsewhere, &group).await, ["3"]);
    for stream in [&here, &elsewhere] {
        admin.delete_stream(stream).await.unwrap();
    }
}

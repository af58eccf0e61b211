//! Offsets at which there is nothing to deliver.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use zephcast_core::{Event, UnitId};
use zephcast_kafka::GroupProtocol;

use crate::lab::{GROUP, Lab, PATIENCE, next, payloads};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_transactions_are_passed() {
    let lab = Lab::new(&[]).await;
    let mut consumer = lab.join().await;
    lab.transact(&["never", "never"], false).await;
    lab.produce("", "a").await;
    lab.transact(&["never"], false).await;
    lab.transact(&["b"], true).await;
    lab.transact(&["never"], false).await;
    assert_eq!(payloads(&mut consumer, 2).await, ["a", "b"]);
    // The next record proves that everything before it is passed.
    lab.produce("", "c").await;
    assert_eq!(payloads(&mut consumer, 1).await, ["c"]);
    lab.no_lag().await;
    assert!(consumer.close(PATIENCE).await.unwrap().clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_transaction_leaves_no_lag() {
    let lab = Lab::new(&[]).await;
    let mut consumer = lab.join().await;
    lab.transact(&["a", "b"], true).await;
    assert_eq!(payloads(&mut consumer, 2).await, ["a", "b"]);
    lab.no_lag().await;
    assert_eq!(lab.committed_and_end().await, (Some(3), 3));
    consumer.close(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_transaction_is_passed_and_leaves_no_lag() {
    let lab = Lab::new(&[]).await;
    let mut consumer = lab.join().await;
    lab.transact(&["never", "never"], false).await;
    // Nothing is delivered, and the group has nothing left all the same.
    lab.no_lag().await;
    lab.produce("", "a").await;
    lab.transact(&["never"], false).await;
    lab.transact(&["b"], true).await;
    lab.transact(&["never", "never", "never"], false).await;
    assert_eq!(payloads(&mut consumer, 2).await, ["a", "b"]);
    lab.no_lag().await;
    lab.produce("", "c").await;
    assert_eq!(payloads(&mut consumer, 1).await, ["c"]);
    lab.no_lag().await;
    assert!(consumer.close(PATIENCE).await.unwrap().clean);

    // Whoever comes later begins there.
    let mut consumer = lab.join().await;
    lab.produce("", "d").await;
    assert_eq!(payloads(&mut consumer, 1).await, ["d"]);
    assert!(consumer.close(PATIENCE).await.unwrap().clean);
    lab.no_lag().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_transaction_does_not_pass_what_is_not_settled() {
    let lab = Lab::new(&[]).await;
    let mut consumer = lab.join().await;
    lab.transact(&["a", "b"], true).await;
    let first = next(&mut consumer).await;
    next(&mut consumer).await.ack_confirmed().await.unwrap();
    assert_eq!(lab.committed_and_end().await, (Some(0), 3));
    first.ack_confirmed().await.unwrap();
    lab.no_lag().await;
    consumer.close(PATIENCE).await.unwrap();
}

async fn goes_on_behind_deleted_records(protocol: GroupProtocol) {
    let lab = Lab::with(&[], protocol).await;
    let mut consumer = lab.client.consumer(&lab.stream).group(GROUP).prefetch(1).start().await.unwrap();
    for number in 0..5 {
        lab.produce("", &number.to_string()).await;
    }
    assert_eq!(payloads(&mut consumer, 2).await, ["0", "1"]);
    assert!(consumer.close(PATIENCE).await.unwrap().clean);
    lab.delete_records(4).await;
    let mut consumer = lab.join().await;
    let mut events = consumer.events();
    assert_eq!(payloads(&mut consumer, 1).await, ["4"]);
    lab.produce("", "5").await;
    assert_eq!(payloads(&mut consumer, 1).await, ["5"]);
    lab.no_lag().await;
    let missing = loop {
        if let Event::Missing { unit, count } = events.next().await.expect("it lives") {
            break (unit, count);
        }
    };
    assert_eq!(missing, (UnitId(0), 2), "2 and 3 were not settled");
    assert!(consumer.close(PATIENCE).await.unwrap().clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_were_deleted_are_counted_as_missing_and_passed() {
    goes_on_behind_deleted_records(GroupProtocol::Classic).await;
    goes_on_behind_deleted_records(GroupProtocol::Eager).await;
    goes_on_behind_deleted_records(GroupProtocol::Consumer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_compaction_took_away_is_not_waited_for() {
    const KEYS: usize = 3;
    let compacted = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.001")];
    let lab = Lab::new(&compacted).await;
    for number in 0..30 {
        lab.produce(&format!("key-{}", number % KEYS), &format!("old-{number}")).await;
    }
    // A segment is closed by the first record after its time, and only closed ones are compacted.
    let (until, mut rolls) = (Instant::now() + PATIENCE, 0);
    while read_plainly(&lab).await >= 20 {
        assert!(Instant::now() < until, "nothing was compacted");
        tokio::time::sleep(Duration::from_millis(150)).await;
        lab.produce("roll", &format!("roll-{rolls}")).await;
        rolls += 1;
    }
    let (_, end) = lab.committed_and_end().await;
    assert_eq!(end, 30 + rolls);

    lab.produce("last", "last").await;
    let mut consumer = lab.join().await;
    let mut read = Vec::new();
    while read.last().is_none_or(|last| last != "last") {
        read.extend(payloads(&mut consumer, 1).await);
    }
    for kept in ["old-27", "old-28", "old-29"] {
        assert!(read.iter().any(|payload| payload == kept), "{kept} is missing: {read:?}");
    }
    assert!(read.len() < 30, "there were gaps: {read:?}");
    lab.no_lag().await;
    consumer.close(PATIENCE).await.unwrap();
}

/// How many records a plain program finds.
async fn read_plainly(lab: &Lab) -> usize {
    let mut config = lab.plain();
    config.set("group.id", "plain").set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
    let stream = lab.stream.clone();
    let read = move || {
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(&stream, 0, rdkafka::Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let mut count = 0;
        loop {
            match consumer.poll(PATIENCE).expect("an answer in time") {
                Ok(_) => count += 1,
                Err(KafkaError::PartitionEOF(_)) => return count,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

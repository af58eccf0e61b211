//! Lists of partitions that are alive when their consumer ends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use integration_tests::threads;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::time::timeout;
use zephcast_core::Event;

use crate::lab::{Lab, PATIENCE, next, plain};

/// More than a member reads ahead, so that its queue is full when it ends.
const MANY: usize = 8_000;
/// Fetching of their partition pauses, and goes on by a seek.
const DELAYED: usize = 1_200;
/// Enough for the looks at the logs that there are each second.
const DELAY: Duration = Duration::from_secs(2);

/// A list that the library fills holds its partitions (`rd_kafka_topic_partition_private_s`, `rdkafka_partition.h`), as do
/// messages and what waits in a queue; and `rd_kafka_destroy` (`rdkafka.c`) joins a thread that ends with the last of
/// them: with one alive, never. Closing is answered before that, so what has to end is the member's thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_listed_its_partitions_in_every_way_ends() {
    let lab = Lab::new(2).await;
    let retries = format!("{}.{}.retry-1s", lab.stream, lab.group);
    lab.create(&retries).await;
    lab.fill(0, 1).await;
    delay(&retries).await;

    let mut first = lab.join().await;
    let mut redelivered = 0;
    while redelivered < DELAYED {
        let delivery = next(&mut first).await;
        redelivered += usize::from(delivery.redelivered());
        delivery.ack().unwrap();
    }
    first.commit().await.unwrap();
    lab.client.group_status(&lab.stream, &lab.group).await.unwrap();
    let mut second = lab.join().await;
    let mut events = first.events();
    let handed_over = async { while !matches!(events.next().await.unwrap(), Event::Revoked(_)) {} };
    timeout(PATIENCE, handed_over).await.expect("a rebalance in time");
    for partition in 0..2 {
        lab.fill(partition, MANY).await;
    }
    // Whichever of them has a part of the stream by now.
    let read = tokio::select! {
        read = next(&mut first) => read,
        read = next(&mut second) => read,
    };
    read.ack().unwrap();
    for member in [first, second] {
        assert!(member.close(PATIENCE).await.unwrap().clean);
    }
    lab.client.close(PATIENCE).await.unwrap();
    threads::ended(&format!("zephcast {}", lab.group), Duration::from_secs(5)).await;
}

/// Messages that the group is to have again, in a while.
async fn delay(topic: &str) {
    let due = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + DELAY;
    let due = due.as_millis().to_string();
    let producer: FutureProducer = plain().create().unwrap();
    let record = || {
        let headers = OwnedHeaders::new().insert(Header { key: "zephcast-due-ms", value: Some(&due) });
        FutureRecord::<(), _>::to(topic).partition(0).payload("again").headers(headers)
    };
    let sent = (0..DELAYED).map(|_| producer.send_result(record()).unwrap());
    for sent in sent.collect::<Vec<_>>() {
        sent.await.unwrap().unwrap();
    }
}

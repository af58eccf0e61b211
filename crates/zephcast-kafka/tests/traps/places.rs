//! The offset that the broker has of a group.

use rdkafka::topic_partition_list::Offset;

use crate::lab::{Lab, PATIENCE, next};

/// Of the library's calls one means the record and stores the offset after it (`rd_kafka_offset_store`, `rdkafka_offset.c`),
/// the others mean the offset itself (`rd_kafka_offsets_store`, there too, and every commit). One too many loses a message,
/// one too few repeats it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_committed_offset_is_that_of_the_first_message_which_is_not_settled() {
    const COUNT: usize = 10;
    let lab = Lab::new(1).await;
    let mut consumer = lab.join().await;
    lab.fill(0, COUNT).await;
    let mut held = Vec::new();
    while held.len() < COUNT {
        held.push(Some(next(&mut consumer).await));
    }
    // Each settled one, and where the group is then.
    for (settled, place) in [(0, 1), (1, 2), (4, 2), (3, 2), (2, 5), (6, 5), (5, 7)] {
        held[settled].take().unwrap().ack_confirmed().await.unwrap();
        assert_eq!(lab.committed().await, [Offset::Offset(place)], "{settled} was settled last");
    }
    held[7].take().unwrap().ack().unwrap();
    drop(held);
    consumer.close(PATIENCE).await.unwrap();
    assert_eq!(lab.committed().await, [Offset::Offset(8)], "what was settled before it left counts");

    let mut consumer = lab.join().await;
    for number in [8, 9] {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.payload_str().unwrap(), number.to_string());
        delivery.ack().unwrap();
    }
    assert!(consumer.close(PATIENCE).await.unwrap().clean);
    assert_eq!(lab.committed().await, [Offset::Offset(10)], "the end");
}

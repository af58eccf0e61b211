//! How members end on bad days: refused for good, cut off while leaving, with a suspect in hand.

use std::time::Duration;

use tokio::time::Instant;
use zephcast_core::{Client, Consumer, ErrorKind, Result};
use zephcast_memory::{Fault, MemoryBroker, Operation};

const CLOSING: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(30);

async fn filled(broker: &MemoryBroker, count: usize) -> Client {
    let client = Client::new(broker.driver());
    let publisher = client.publisher("stream").await.unwrap();
    for n in 0..count {
        publisher.publish(n.to_string()).await.unwrap();
    }
    client
}

async fn member(client: &Client) -> Consumer {
    client.consumer("stream").group("g").lease(LEASE).start().await.unwrap()
}

/// Takes and acks so many; what attempt each was.
async fn take(consumer: &mut Consumer, count: usize) -> Result<Vec<u32>> {
    let mut attempts = Vec::new();
    while attempts.len() < count {
        let delivery = consumer.next().await.expect("a delivery")?;
        attempts.push(delivery.attempt());
        delivery.ack()?;
    }
    Ok(attempts)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_ends_the_consumer_and_is_no_clean_end() {
    let broker = MemoryBroker::new();
    let client = filled(&broker, 3).await;
    broker.faults().inject(Fault::fail(ErrorKind::PermissionDenied).on(Operation::Settle));
    let mut consumer = member(&client).await;
    take(&mut consumer, 1).await.unwrap();
    let refused = loop {
        match consumer.next().await.expect("the reason") {
            Ok(delivery) => drop(delivery),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(consumer.next().await.is_none(), "nothing more is handed out");
    let report = consumer.close(CLOSING).await.unwrap();
    assert_eq!((report.acked, report.clean), (0, false), "{report:?}");
    broker.faults().clear();
    take(&mut member(&client).await, 3).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_ack_that_was_refused_for_good_while_closing_is_no_clean_end() {
    let broker = MemoryBroker::new();
    let client = filled(&broker, 1).await;
    let mut consumer = member(&client).await;
    let delivery = consumer.next().await.unwrap().unwrap();
    broker.faults().inject(Fault::fail(ErrorKind::PermissionDenied).on(Operation::Settle));
    delivery.ack().unwrap();
    let report = consumer.close(CLOSING).await.unwrap();
    assert_eq!((report.acked, report.clean), (0, false), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn leaving_is_tried_again_while_there_is_time() {
    for fault in [Fault::fail(ErrorKind::Unavailable), Fault::lose_reply()] {
        let broker = MemoryBroker::new();
        let client = filled(&broker, 10).await;
        let mut consumer = member(&client).await;
        let held = consumer.next().await.unwrap().unwrap();
        broker.faults().inject(fault.on(Operation::Leave).times(3));
        drop(held);
        let report = consumer.close(CLOSING).await.unwrap();
        assert_eq!((report.returned, report.clean), (10, true), "{report:?}");
        let began = Instant::now();
        assert_eq!(take(&mut member(&client).await, 10).await.unwrap(), [1; 10]);
        assert!(began.elapsed() < LEASE / 3, "with another member within seconds: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_leave_in_time_says_so() {
    let broker = MemoryBroker::new();
    let client = filled(&broker, 1).await;
    let consumer = member(&client).await;
    broker.faults().inject(Fault::cut().on(Operation::Leave));
    let began = Instant::now();
    let report = consumer.close(CLOSING).await.unwrap();
    assert!(!report.clean && began.elapsed() <= CLOSING, "{report:?} after {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_goes_back_with_the_leaving_is_counted() {
    let broker = MemoryBroker::new();
    let client = filled(&broker, 1).await;
    let mut first = client.consumer("stream").group("g").member("first").lease(LEASE).start().await.unwrap();
    let held = first.next().await.unwrap().unwrap();
    broker.faults().inject(Fault::cut().member("first")).crash("first");
    let mut second = member(&client).await;
    let suspect = second.next().await.unwrap().unwrap();
    assert_eq!(suspect.attempt(), 2);
    let closing = tokio::spawn(second.close(CLOSING));
    tokio::task::yield_now().await;
    drop((suspect, held));
    let report = closing.await.unwrap().unwrap();
    assert_eq!((report.returned, report.retried, report.clean), (1, 0, true), "{report:?}");
    assert_eq!(take(&mut member(&client).await, 1).await.unwrap(), [2], "it was not tried");
}

//! Who waits for an answer from the broker gets its own, in bounded time, whatever becomes of others.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use zephcast_core::{Client, Consumer, ErrorKind, Event, Message, PublishError, Verdict};
use zephcast_memory::{Fault, MemoryBroker, Operation};

const LONG: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(1);

async fn filled(broker: &MemoryBroker, count: usize) -> (Client, Consumer) {
    let client = Client::new(broker.driver());
    let publisher = client.publisher("stream").await.unwrap();
    for receipt in publisher.publish_all((0..count).map(|n| Message::new(n.to_string()))).await {
        receipt.unwrap();
    }
    let consumer = client.consumer("stream").group("g").start().await.unwrap();
    (client, consumer)
}

#[tokio::test(start_paused = true)]
async fn an_ack_is_confirmed_while_the_dead_letter_of_another_is_refused() {
    for refused in [ErrorKind::Blocked, ErrorKind::TooLarge] {
        let broker = MemoryBroker::new();
        let (_client, mut consumer) = filled(&broker, 2).await;
        broker.faults().inject(Fault::fail(refused).on(Operation::DeadLetter));
        let dead = consumer.next().await.unwrap().unwrap();
        let other = consumer.next().await.unwrap().unwrap();
        dead.reject("no").unwrap();
        timeout(SOON, other.ack_confirmed()).await.expect("in time").expect("it is durable");
        broker.faults().clear();
        consumer.commit().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_dead_letters_learns_that_it_was_refused_for_good() {
    let broker = MemoryBroker::new();
    let (_client, mut consumer) = filled(&broker, 1).await;
    broker.faults().inject(Fault::fail(ErrorKind::TooLarge).on(Operation::DeadLetter));
    let delivery = consumer.next().await.unwrap().unwrap();
    let refused = timeout(LONG, delivery.settle_confirmed(Verdict::Reject("no".into()))).await.unwrap();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::TooLarge);
    let commit = timeout(LONG, consumer.commit()).await.unwrap();
    assert_eq!(commit.unwrap_err().kind(), ErrorKind::TooLarge, "not everything before it is durable");
}

#[tokio::test(start_paused = true)]
async fn retries_are_not_held_up_by_a_dead_letter_that_is_refused() {
    let broker = MemoryBroker::new();
    let (_client, mut consumer) = filled(&broker, 20).await;
    broker.faults().inject(Fault::fail(ErrorKind::TooLarge).on(Operation::DeadLetter));
    consumer.next().await.unwrap().unwrap().reject("no").unwrap();
    // Long enough for the backoff of what was refused to have grown.
    tokio::time::sleep(Duration::from_secs(60)).await;
    for _ in 1..20 {
        let delivery = consumer.next().await.unwrap().unwrap();
        let later = delivery.settle_confirmed(Verdict::NackAfter(LONG));
        timeout(Duration::from_millis(100), later).await.expect("at once").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_meanwhile_does_not_put_a_confirmation_off() {
    let broker = MemoryBroker::new();
    let (_client, mut consumer) = filled(&broker, 2_000).await;
    broker.faults().inject(Fault::delay(Duration::from_millis(5)).on(Operation::Settle));
    let first = consumer.next().await.unwrap().unwrap();
    let began = Instant::now();
    let mut confirmed = std::pin::pin!(first.ack_confirmed());
    loop {
        tokio::select! {
            biased;
            done = &mut confirmed => break done.unwrap(),
            () = tokio::time::sleep(Duration::from_micros(1_000)) => {
                consumer.next().await.expect("there are more").unwrap().ack().unwrap();
            }
        }
    }
    assert!(began.elapsed() < Duration::from_millis(50), "two calls are enough: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_ack_flush_without_an_end_flushes_when_asked() {
    let broker = MemoryBroker::new();
    let client = Client::new(broker.driver());
    client.publisher("stream").await.unwrap().publish("x").await.unwrap();
    client.publisher("stream").await.unwrap().publish("y").await.unwrap();
    let consumer = client.consumer("stream").group("g").ack_flush(1_000, Duration::MAX);
    let mut consumer = consumer.start().await.unwrap();
    consumer.next().await.unwrap().unwrap().ack().unwrap();
    let held = consumer.next().await.unwrap().unwrap();
    timeout(SOON, consumer.commit()).await.expect("at once").unwrap();
    held.ack().unwrap();
    assert!(consumer.close(SOON).await.unwrap().clean);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_delivery_of_an_old_member_is_not_old() {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    let broker = MemoryBroker::new();
    let client = Client::new(broker.driver());
    let mut consumer = client.consumer("stream").group("g").lease(DAY).start().await.unwrap();
    let mut events = consumer.events();
    tokio::time::sleep(50 * DAY).await;
    client.publisher("stream").await.unwrap().publish("x").await.unwrap();
    let held = consumer.next().await.unwrap().unwrap();
    tokio::time::sleep(DAY * 4 / 5).await;
    let status = client.group_status("stream", "g").await.unwrap();
    assert!(status.members[0].oldest_delivery < Some(DAY), "{:?}", status.members[0].oldest_delivery);
    held.ack().unwrap();
    consumer.close(SOON).await.unwrap();
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Stuck { .. }), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_publish_has_its_answer_within_its_own_timeout() {
    const TIMEOUT: Duration = Duration::from_secs(10);
    let broker = MemoryBroker::new();
    let client = Client::new(broker.driver());
    let publisher = client.publisher("stream").timeout(TIMEOUT).await.unwrap();
    broker.faults().inject(Fault::delay(Duration::from_secs(3_600)).on(Operation::Publish));
    let mut publishing = Vec::new();
    for _ in 0..100 {
        let publisher = publisher.clone();
        publishing.push(tokio::spawn(async move {
            let began = Instant::now();
            (publisher.publish("x").await.unwrap_err(), began.elapsed())
        }));
        tokio::time::sleep(TIMEOUT / 101).await;
    }
    for publish in publishing {
        let (error, took) = publish.await.unwrap();
        assert!(matches!(error, PublishError::Unknown(_) | PublishError::Failed(_)), "{error:?}");
        assert!(took <= TIMEOUT + Duration::from_millis(10), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_over_is_not_blamed() {
    let broker = MemoryBroker::new();
    let client = Client::new(broker.driver());
    let publisher = client.publisher("stream").timeout(Duration::from_secs(5)).await.unwrap();
    broker.faults().inject(Fault::fail(ErrorKind::Blocked).on(Operation::Publish).times(1));
    publisher.publish("refused once").await.unwrap();
    broker.faults().inject(Fault::cut());
    let error = publisher.publish("cut off").await.unwrap_err();
    let PublishError::Failed(error) = error else { panic!("{error:?}") };
    assert_ne!(error.kind(), ErrorKind::Blocked, "{error:?}");
}

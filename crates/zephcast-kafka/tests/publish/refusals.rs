//! What is not stored, and how it says so.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::message::OwnedMessage;
use zephcast_core::driver::Driver;
use zephcast_core::{ErrorKind, Message, PublishError, StreamName};

use crate::broker::{Outcome, create, delete, driver, message, name, read, sink};

#[track_caller]
fn failed(outcome: &Outcome) -> ErrorKind {
    let Err(PublishError::Failed(error)) = outcome else { panic!("{outcome:?}") };
    error.kind()
}

#[tokio::test]
async fn what_cannot_be_carried_fails_alone() {
    let topic = name("alone");
    create(&topic, 1, &[]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    let batch = [
        message(0),
        Message::new(vec![0; 2_000_000]),
        message(1),
        Message::new("").with_header(&b"a\0b"[..], "x"),
        message(2),
        // The most that goes.
        Message::new(vec![0; 1_000_000]).with_header("h", vec![0; 40_000]),
    ];
    let outcomes = sink.publish(&batch).await;
    assert_eq!(failed(&outcomes[1]), ErrorKind::TooLarge);
    assert_eq!(failed(&outcomes[3]), ErrorKind::InvalidInput);
    for place in [0, 2, 4, 5] {
        outcomes[place].as_ref().unwrap();
    }
    let sizes: Vec<_> = read(&topic, 1, 4).iter().map(|stored| stored.payload().unwrap().len()).collect();
    assert_eq!(sizes, [1, 1, 1, 1_000_000]);
}

#[tokio::test]
async fn what_the_broker_finds_too_large_says_so() {
    let topic = name("small");
    create(&topic, 1, &[("max.message.bytes", "10000")]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    let outcomes = sink.publish(&[Message::new(vec![0; 20_000])]).await;
    assert_eq!(failed(&outcomes[0]), ErrorKind::TooLarge);
    assert!(sink.publish(&[message(1)]).await[0].is_ok());
}

/// The client library sends more at once than these topics take.
#[tokio::test]
async fn what_was_refused_together_is_sent_apart() {
    const SMALL: usize = 3_000;
    let topic = name("little");
    create(&topic, 1, &[("max.message.bytes", "10000")]).await;
    let driver = driver().await;
    let (one, beside) = (sink(&driver, &topic).await, sink(&driver, &topic).await);
    let mut batch: Vec<Message> = (0..SMALL).map(message).collect();
    batch.insert(SMALL / 2, Message::new(vec![0; 20_000]));
    let others: Vec<Message> = (SMALL..SMALL + 500).map(message).collect();
    let (outcomes, others) = tokio::join!(one.publish(&batch), beside.publish(&others));
    assert_eq!(failed(&outcomes[SMALL / 2]), ErrorKind::TooLarge);
    assert_eq!(outcomes.iter().chain(&others).filter(|outcome| outcome.is_ok()).count(), SMALL + 500);
    // Now it is known what goes, and nothing overtakes anything.
    let later: Vec<Message> = (SMALL + 500..SMALL + 1_000).map(message).collect();
    assert!(one.publish(&later).await.iter().all(Result::is_ok));
    let read = read(&topic, 1, SMALL + 1_000);
    let number = |stored: &OwnedMessage| String::from_utf8_lossy(stored.payload().unwrap()).parse::<usize>().unwrap();
    let numbers: Vec<usize> = read.iter().map(number).collect();
    assert_eq!(numbers[SMALL + 500..], (SMALL + 500..SMALL + 1_000).collect::<Vec<_>>());
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), SMALL + 1_000, "some twice");
}

#[tokio::test]
async fn what_the_topic_takes_is_stored_however_large() {
    let topic = name("large");
    create(&topic, 1, &[("max.message.bytes", "20000000")]).await;
    let driver = driver().await;
    let outcomes = sink(&driver, &topic).await.publish(&[message(0), Message::new(vec![0; 15_000_000])]).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(read(&topic, 1, 2)[1].payload().unwrap().len(), 15_000_000);
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_not_found() {
    let stream = StreamName::new(name("missing")).expect("a name");
    let driver = driver().await;
    let error = driver.open_sink(&stream, false).await.err().expect("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let sink = driver.open_sink(&stream, true).await.expect("created");
    assert!(sink.publish(&[message(2)]).await[0].is_ok());
}

#[tokio::test]
async fn a_stream_that_was_deleted_is_not_found() {
    let topic = name("deleted");
    create(&topic, 2, &[]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    assert!(sink.publish(&[message(0)]).await[0].is_ok());
    delete(&topic).await;
    let began = Instant::now();
    loop {
        let outcome = sink.publish(&[message(1)]).await.remove(0);
        if outcome.is_err() {
            assert_eq!(failed(&outcome), ErrorKind::NotFound, "{outcome:?}");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// The broker refuses all that comes with it.
#[tokio::test]
async fn a_message_without_the_key_that_a_compacted_topic_needs_fails_alone() {
    let topic = name("keyless");
    create(&topic, 1, &[("cleanup.policy", "compact")]).await;
    let driver = driver().await;
    let sink = sink(&driver, &topic).await;
    let keyed = |number: usize| Message::new(number.to_string()).with_key("k");
    let mut batch: Vec<Message> = (0..50).map(keyed).collect();
    batch.insert(20, Message::new("no key"));
    let (outcomes, beside) = tokio::join!(sink.publish(&batch), sink.publish(&batch[..1]));
    assert_eq!(failed(&outcomes[20]), ErrorKind::InvalidInput);
    assert_eq!(outcomes.iter().chain(&beside).filter(|outcome| outcome.is_ok()).count(), 51);
    let stored: BTreeSet<Vec<u8>> =
        read(&topic, 1, 51).iter().map(|stored| stored.payload().unwrap().to_vec()).collect();
    assert_eq!(stored, (0..50).map(|number: usize| number.to_string().into_bytes()).collect());
}

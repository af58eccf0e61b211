use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::publisher::answers::Answers;
use crate::{Message, Position, PositionStyle, Token, UnitId};

/// A broker that answers after a while, and stores nothing of a call that reaches it while it is away.
struct Sometimes {
    began: Instant,
    away: Range<Duration>,
    takes: Duration,
    /// With which kind of error it refuses.
    refuses: ErrorKind,
    stored: Mutex<Vec<String>>,
}

#[async_trait]
impl Sink for Sometimes {
    fn trouble(&self) -> Option<Error> {
        Some(Error::new(ErrorKind::Unavailable, "publish", "nobody is there"))
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Stored> {
        let away = self.away.contains(&self.began.elapsed());
        if !away {
            let texts = batch.iter().map(|message| message.payload_str().unwrap().to_owned());
            self.stored.lock().unwrap().extend(texts);
        }
        tokio::time::sleep(self.takes).await;
        let position = Position::new(PositionStyle::Tag, UnitId(0), Token(0, 0));
        let refused = || PublishError::Failed(Error::new(self.refuses, "publish", "away"));
        batch.iter().map(|_| if away { Err(refused()) } else { Ok(Some(position)) }).collect()
    }
}

/// A worker over that broker, and the queue into which the test publishes.
fn start(away: Range<Duration>, takes: Duration) -> (Arc<Sometimes>, Arc<Queue>, tokio::task::JoinHandle<()>) {
    over(Sometimes { began: Instant::now(), away, takes, refuses: ErrorKind::Unavailable, stored: Mutex::default() })
}

fn over(sink: Sometimes) -> (Arc<Sometimes>, Arc<Queue>, tokio::task::JoinHandle<()>) {
    let sink = Arc::new(sink);
    let queue = Arc::new(Queue::new());
    // Little room, so that a single message is worth a call; nothing here takes any of it.
    let room = || Arc::new(Semaphore::new(CALLS));
    let worker = Worker::new(sink.clone(), queue.clone(), room(), room(), Broker::Memory);
    (sink, queue, tokio::spawn(worker.run()))
}

fn push(queue: &Queue, text: String, timeout: Duration) -> (Arc<Answers>, u32) {
    let (_, answers, place) = queue.push(Message::new(text), 1, Instant::now() + timeout).expect("open");
    (answers, place)
}

async fn answer((answers, place): (Arc<Answers>, u32)) -> Option<Stored> {
    std::future::poll_fn(|cx| answers.poll(place as usize, cx)).await
}

#[tokio::test(start_paused = true)]
async fn an_outage_changes_no_order_and_loses_nothing() {
    for seed in 0..50 {
        // Decides how long the worker waits before it sends again.
        fastrand::seed(seed);
        let (sink, queue, worker) =
            start(Duration::from_millis(500)..Duration::from_millis(4_000), Duration::from_millis(20));
        let mut receipts = Vec::new();
        for n in 0..3_000 {
            receipts.push(push(&queue, n.to_string(), Duration::from_secs(30)));
            // Some while the broker is there, most while it is away, some while what failed is sent again.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for receipt in receipts {
            assert!(matches!(answer(receipt).await, Some(Ok(Some(_)))));
        }
        let expected: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
        assert_eq!(*sink.stored.lock().unwrap(), expected, "each once and in order, with seed {seed}");
        queue.close();
        worker.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_newer_passes_what_is_being_sent_again() {
    for back in 310..420 {
        fastrand::seed(back);
        // The first fails alone at 300 ms and is sent again within 100 ms. Somewhen around that the broker is back.
        let (sink, queue, _worker) = start(Duration::ZERO..Duration::from_millis(back), Duration::from_millis(300));
        let mut receipts = vec![push(&queue, "0".into(), Duration::from_secs(30))];
        tokio::time::sleep(Duration::from_millis(305)).await;
        for n in 1..20 {
            receipts.push(push(&queue, n.to_string(), Duration::from_secs(30)));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for receipt in receipts {
            assert!(matches!(answer(receipt).await, Some(Ok(Some(_)))));
        }
        assert_eq!(sink.stored.lock().unwrap()[0], "0", "the broker back after {back} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sent_in_time_failed_for_certain_and_says_why() {
    let (sink, queue, _worker) = start(Duration::ZERO..Duration::MAX, Duration::ZERO);
    let began = Instant::now();
    let answered = answer(push(&queue, "late".into(), Duration::from_secs(2))).await;
    let Some(Err(PublishError::Failed(error))) = answered else { panic!("{answered:?}") };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("away")), "{error:?}");
    assert!(began.elapsed() < Duration::from_millis(2_100), "{:?}", began.elapsed());
    assert!(sink.stored.lock().unwrap().is_empty());
}

/// The broker's client tried for that long.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_tried_as_long_once_more_failed_for_certain() {
    let (_, queue, _worker) = start(Duration::ZERO..Duration::MAX, Duration::from_secs(25));
    let began = Instant::now();
    let answered = answer(push(&queue, "late".into(), Duration::from_secs(30))).await;
    let Some(Err(PublishError::Failed(error))) = answered else { panic!("{answered:?}") };
    assert_eq!((error.kind(), began.elapsed().as_secs()), (ErrorKind::Unavailable, 25));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_answered_in_time_is_unknown_and_says_what_the_driver_knows() {
    let (_, queue, _worker) = start(Duration::ZERO..Duration::MAX, Duration::from_secs(25));
    let answered = answer(push(&queue, "late".into(), Duration::from_secs(3))).await;
    let Some(Err(PublishError::Unknown(error))) = answered else { panic!("{answered:?}") };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("nobody is there")));
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_until_its_timeout_is_blocked_and_not_late() {
    let (away, began) = (Duration::ZERO..Duration::MAX, Instant::now());
    let sink = Sometimes { began, away, takes: Duration::ZERO, refuses: ErrorKind::Blocked, stored: Mutex::default() };
    let (_, queue, _worker) = over(sink);
    let answered = answer(push(&queue, "full".into(), Duration::from_secs(2))).await;
    let Some(Err(PublishError::Failed(error))) = answered else { panic!("{answered:?}") };
    assert_eq!(error.kind(), ErrorKind::Blocked, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_worker_that_ended_hears_of_it() {
    let (_, queue, worker) = start(Duration::ZERO..Duration::MAX, Duration::ZERO);
    let receipt = push(&queue, "orphan".into(), Duration::from_secs(30));
    let waiting = tokio::spawn(answer(receipt));
    tokio::time::sleep(Duration::from_millis(1)).await;
    worker.abort();
    assert!(waiting.await.unwrap().is_none());
    assert!(queue.push(Message::new("after"), 1, Instant::now()).is_none());
}

//! A connection that is cut at every place of an exchange: each outcome says what is true, and nothing is sent twice
//! behind the caller's back.

use zephcast_core::PublishError;

use crate::network::{Direction, Proxy, copies, passed, through, way_to};
use crate::prelude::*;

/// The last one goes on its own behind a pipeline of the others.
const MESSAGES: usize = 4;

/// What became of the messages of a whole sweep.
#[derive(Debug, Default)]
struct Account {
    receipts: usize,
    failed: usize,
    unknown: usize,
    /// Of those, the ones that are stored.
    unknown_stored: usize,
}

impl Account {
    /// Compares outcomes with what is stored.
    fn check<T>(&mut self, server: &Server, stream: &StreamName, outcomes: &[Result<T, PublishError>], cut: &str) {
        assert_eq!(outcomes.len(), MESSAGES);
        for (n, outcome) in outcomes.iter().enumerate() {
            let copies = copies(server, stream, &format!("m{n}"));
            match outcome {
                Ok(_) => {
                    assert_eq!(copies, 1, "m{n} has a receipt, {cut}");
                    self.receipts += 1;
                }
                Err(PublishError::Failed(error)) => {
                    assert_eq!(copies, 0, "m{n} certainly failed with {error:?}, {cut}");
                    self.failed += 1;
                }
                Err(PublishError::Unknown(error)) => {
                    assert!(copies <= 1, "m{n} is there {copies} times, {cut}");
                    assert!(error.is_retryable(), "{error:?}, {cut}");
                    self.unknown += 1;
                    self.unknown_stored += copies;
                }
            }
        }
    }
}

async fn ready(proxy: &Proxy, driver: &RedisDriver, stream: &StreamName) -> Arc<dyn zephcast_core::driver::Sink> {
    proxy.heal();
    driver.open_sink(stream, true).await.expect("a sink")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_is_cut_anywhere_is_answered_truly_and_never_sent_again() {
    let server = Server::own(&[]);
    let proxy = way_to(&server).await;
    let driver = RedisDriver::connect(through(&proxy)).await.unwrap();
    for (direction, step) in [(Direction::FromClient, 3), (Direction::FromServer, 1)] {
        let stream = unique_stream("whole");
        let sink = ready(&proxy, &driver, &stream).await;
        let before = passed(&proxy, direction);
        assert!(sink.publish(&messages(MESSAGES)).await.iter().all(Result::is_ok));
        let whole = passed(&proxy, direction) - before;
        assert!((50..1_000).contains(&whole), "{whole} bytes");

        let mut account = Account::default();
        // Every place of the answers, and of the commands every third, which meets each of them elsewhere.
        for bytes in (0..whole).step_by(step) {
            let stream = unique_stream("cut");
            let sink = ready(&proxy, &driver, &stream).await;
            proxy.cut_after(direction, bytes);
            let outcomes = sink.publish(&messages(MESSAGES)).await;
            account.check(&server, &stream, &outcomes, &format!("cut after {bytes} of {whole} bytes {direction:?}"));
        }
        let Account { receipts, unknown, unknown_stored, .. } = account;
        assert!(unknown > 0 && unknown_stored > 0, "{direction:?}: {account:?}");
        match direction {
            Direction::FromClient => assert!(unknown_stored < unknown, "some never arrived: {account:?}"),
            Direction::FromServer => assert!(receipts > 0, "some answers arrived: {account:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_that_are_cut_between_writes_are_answered_truly() {
    const BODY: usize = 60_000;
    let server = Server::own(&[]);
    let proxy = way_to(&server).await;
    let driver = RedisDriver::connect(through(&proxy)).await.unwrap();
    let large = || (0..MESSAGES).map(|n| Message::new(vec![b'x'; BODY]).with_key(format!("m{n}"))).collect::<Vec<_>>();
    let mut account = Account::default();
    for bytes in (0..MESSAGES * BODY).step_by(7_000) {
        let stream = unique_stream("large-cut");
        let sink = ready(&proxy, &driver, &stream).await;
        proxy.cut_after(Direction::FromClient, bytes as u64);
        let outcomes = sink.publish(&large()).await;
        account.check(&server, &stream, &outcomes, &format!("cut after {bytes} bytes of large messages"));
    }
    assert!(account.unknown_stored > 0 && account.unknown_stored < account.unknown, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_repeats_only_what_certainly_failed() {
    let server = Server::own(&[]);
    let proxy = way_to(&server).await;
    let client = through(&proxy).connect().await.unwrap();
    let mut account = Account::default();
    for direction in [Direction::FromClient, Direction::FromServer] {
        for bytes in (0..80).step_by(5) {
            let stream = unique_stream("repeats");
            proxy.heal();
            let publisher = client.publisher(stream.as_str()).await.unwrap();
            proxy.cut_after(direction, bytes);
            let outcomes = publisher.publish_all(messages(MESSAGES)).await;
            account.check(&server, &stream, &outcomes, &format!("cut after {bytes} bytes {direction:?}"));
        }
    }
    assert!(account.unknown > 0 && account.failed == 0, "{account:?}");
}

/// A single attempt, told apart from what it tells.
async fn settle(member: &Joined, held: &[Incoming], again: bool) -> zephcast_core::Result<Vec<(UnitId, Token)>> {
    let mut unit = UnitSettlements::new(UnitId(0));
    unit.acked = held.iter().map(|incoming| incoming.token).collect();
    member.settler.settle(&Settlement { again, units: vec![unit] }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_that_is_cut_anywhere_is_done_once_and_never_called_late() {
    let server = Server::own(&[]);
    let near = server.driver().await;
    let proxy = way_to(&server).await;
    let driver = RedisDriver::connect(through(&proxy)).await.unwrap();
    let stream = unique_stream("acks");
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    // Twice, since the first one teaches the server the script.
    let mut whole = [0, 0];
    for _ in 0..2 {
        publish(&near, &stream, &messages(MESSAGES)).await;
        let held = member.receive(MESSAGES).await;
        let before = Direction::BOTH.iter().map(|way| passed(&proxy, *way)).collect::<Vec<_>>();
        assert!(member.ack(&held).await.is_empty());
        for (n, way) in Direction::BOTH.iter().enumerate() {
            whole[n] = passed(&proxy, *way) - before[n];
        }
    }
    let (mut failed, mut done) = (0, 0);
    for (direction, whole, step) in [(Direction::FromClient, whole[0], 7), (Direction::FromServer, whole[1], 1)] {
        for bytes in (0..whole).step_by(step) {
            let cut = format!("cut after {bytes} of {whole} bytes {direction:?}");
            publish(&near, &stream, &messages(MESSAGES)).await;
            let held = member.receive(MESSAGES).await;
            proxy.cut_after(direction, bytes);
            let first = settle(&member, &held, false).await;
            proxy.heal();
            let pending = server.cli(&["XPENDING", stream.as_str(), "g"]);
            match first {
                Ok(lost) => assert!(lost.is_empty() && pending.starts_with('0'), "{lost:?} {pending}, {cut}"),
                Err(error) => {
                    assert!(error.is_retryable(), "{error:?}, {cut}");
                    (failed, done) = (failed + 1, done + usize::from(pending.starts_with('0')));
                    // As the engine does: what is ours stays ours, whatever became of the first attempt.
                    let mut again = settle(&member, &held, true).await;
                    while again.is_err() {
                        again = settle(&member, &held, true).await;
                    }
                    assert_eq!(again.unwrap(), [], "called late, {cut}");
                }
            }
            assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('0'), "{cut}");
        }
    }
    assert!(failed > done && done > 0, "{failed} failed, {done} of them after the server had done it");
    publish(&near, &stream, &[Message::new("last")]).await;
    assert_eq!(member.receive(1).await[0].message.payload_str().unwrap(), "last", "nothing comes again");
}

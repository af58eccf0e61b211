//! Acks, later, dead, kept, returned.

use crate::member::{failure, position};
use crate::prelude::*;

pub(crate) fn later(incoming: &Incoming, delay: Duration, attempts: u32) -> Disposition {
    Disposition::Later {
        delay,
        attempts,
        message: Box::new(incoming.message.clone()),
        origin: position(incoming),
        published_ms: None,
        first_failed_ms: Some(failure().first_failed_ms),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_messages_scheduled_for_later_all_come_back_in_time_to_their_group_only() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("later");
    let equal: Vec<Message> = (0..100).map(|_| Message::new("same").with_header("h", [0_u8, 255].as_slice())).collect();
    publish(&driver, &stream, &equal).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(100).await;
    let scheduled = Instant::now();
    for incoming in &received {
        assert!(member.other(incoming, later(incoming, Duration::from_millis(300), 1)).await.is_empty());
    }
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('0'), "settled where they were");
    let again = member.receive(100).await;
    let waited = scheduled.elapsed();
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
    let mut origins: Vec<Token> = again.iter().map(|incoming| incoming.origin.1).collect();
    origins.sort_unstable();
    assert_eq!(origins, received.iter().map(|incoming| incoming.origin.1).collect::<Vec<_>>());
    for incoming in &again {
        assert_eq!((incoming.attempt, incoming.first_failed_ms), (2, Some(11)));
        assert_eq!(incoming.message, equal[0]);
        assert_ne!(incoming.token, incoming.origin.1);
    }
    assert!(member.ack(&again).await.is_empty());
    assert_eq!(server.cli(&["XLEN", stream.as_str()]), "100", "other groups see no copies");
    assert_eq!(server.cli(&["XLEN", &format!("{{{stream}}}.g.retry")]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_comes_within_moments() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("due");
    publish(&driver, &stream, &messages(1)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let mut late = Vec::new();
    for _ in 0..10 {
        let received = member.receive(1).await;
        let delay = Duration::from_millis(50);
        let began = Instant::now();
        member.other(&received[0], later(&received[0], delay, 0)).await;
        let again = member.receive(1).await;
        late.push(began.elapsed() - delay);
        member.other(&again[0], later(&again[0], Duration::ZERO, 0)).await;
    }
    late.sort_unstable();
    assert!(late[5] < Duration::from_millis(30), "the median is late by {:?}", late[5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_message_survives_its_member_and_reaches_another() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("survives");
    publish(&driver, &stream, &messages(1)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(1).await;
    member.other(&received[0], later(&received[0], Duration::from_millis(500), 3)).await;
    member.die();
    let mut other = Joined::new(&driver, &stream, "b").await;
    let again = other.receive(1).await;
    assert_eq!((again[0].attempt, again[0].suspect, again[0].origin.1), (4, false, received[0].origin.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_says_everything_and_can_be_redriven() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("dead");
    let message = Message::new([0_u8, 159].as_slice())
        .with_key("k")
        .with_id(MessageId::new("i"))
        .with_header("traceparent", "00-1");
    let positions = publish(&driver, &stream, std::slice::from_ref(&message)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(1).await;
    let dead = Disposition::Dead {
        message: Box::new(received[0].message.clone()),
        origin: position(&received[0]),
        published_ms: None,
        attempts: 3,
        failure: failure(),
    };
    assert!(member.other(&received[0], dead).await.is_empty());

    let letters = driver.admin().dead_letters(&stream, &group(), None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.message, message);
    assert_eq!((letter.reason.as_str(), letter.attempts), ("no stock", 3));
    assert_eq!((letter.first_failed_ms, letter.last_failed_ms), (Some(11), Some(22)));
    assert_eq!(letter.origin, format!("{stream}@{}", positions[0]));
    let raw = server.cli(&["XRANGE", &format!("{{{stream}}}.g.dead"), "-", "+"]);
    assert!(raw.contains("zephcast-reason") && raw.contains("zephcast-group"), "{raw}");

    use zephcast_core::driver::Redrive;
    let redriven = driver.admin().redrive(&stream, &group(), letter.position).await.unwrap();
    assert_eq!(redriven, Redrive::Redriven);
    let gone = driver.admin().redrive(&stream, &group(), letter.position).await.unwrap();
    assert_eq!(gone, Redrive::Gone);
    let again = member.receive(1).await;
    assert_eq!((again[0].attempt, again[0].origin.1, &again[0].message), (1, positions[0].token, &message));
    assert!(driver.admin().dead_letters(&stream, &group(), None, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_returned_is_with_another_member_soon_and_no_suspect() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("returned");
    publish(&driver, &stream, &messages(3)).await;
    let mut first = Joined::with(&driver, &stream, |s| s.lease = Duration::from_secs(60)).await;
    let received = first.receive(3).await;
    let mut second = Joined::new(&driver, &stream, "b").await;
    assert!(first.other(&received[0], Disposition::Return { attempts: 0 }).await.is_empty());
    assert!(first.other(&received[1], Disposition::Return { attempts: 2 }).await.is_empty());
    let again = second.receive(2).await;
    let mut seen: Vec<_> = again.iter().map(|i| (i.token, i.attempt, i.suspect)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [(received[0].token, 1, false), (received[1].token, 3, false)]);
    assert_eq!(first.ack(&received[..2]).await.len(), 2, "they are no longer the first one's");
    assert!(second.ack(&again).await.is_empty());
    assert!(first.ack(&received[2..]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_counts_its_attempts_after_a_crash() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("kept");
    publish(&driver, &stream, &messages(1)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(1).await;
    assert!(member.other(&received[0], Disposition::Keep { attempts: 4 }).await.is_empty());
    member.die();
    let mut other = Joined::new(&driver, &stream, "b").await;
    other.told_of_suspects().await;
    let suspect = other.suspect().await.unwrap();
    assert_eq!((suspect.attempt, suspect.suspect), (5, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_settlement_changes_nothing_for_the_new_owner() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("late");
    publish(&driver, &stream, &messages(3)).await;
    // Never renews, as a stopped process.
    let mut zombie = Joined::new(&driver, &stream, "zombie").await;
    let held = zombie.receive(3).await;
    let mut owner = Joined::new(&driver, &stream, "owner").await;
    owner.told_of_suspects().await;
    let first = owner.suspect().await.unwrap();
    let second = owner.suspect().await.unwrap();
    assert!(owner.ack(std::slice::from_ref(&second)).await.is_empty());

    let late = zombie.ack(&held).await;
    assert_eq!(late.len(), 3, "also the one that was acked by its new owner, and the one that waits");
    assert_eq!(zombie.other(&held[0], later(&held[0], Duration::ZERO, 1)).await, [held[0].token]);
    assert_eq!(zombie.renew(&held).await.len(), 2, "the acked one is nobody's");
    let pending = server.cli(&["XPENDING", stream.as_str(), "g"]);
    assert!(pending.starts_with('2'), "{pending}");
    assert!(owner.ack(&[first]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_call_settled_is_settled() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("again");
    publish(&driver, &stream, &messages(2)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let held = member.receive(2).await;
    assert!(member.ack(&held[..1]).await.is_empty());
    assert!(member.ack_again(&held).await.is_empty());
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('0'));
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_survive_a_flushed_script_cache() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("scripts");
    publish(&driver, &stream, &messages(2)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(2).await;
    assert!(member.ack(&received[..1]).await.is_empty());
    server.cli(&["SCRIPT", "FLUSH"]);
    assert!(member.ack(&received[1..]).await.is_empty());
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('0'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_later_keeps_the_time_of_the_first_failure() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("first-failed");
    publish(&driver, &stream, &messages(1)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(1).await;
    member.other(&received[0], later(&received[0], Duration::ZERO, 1)).await;
    let again = member.receive(1).await;
    let plain = Disposition::Later {
        delay: Duration::ZERO,
        attempts: 1,
        message: Box::new(again[0].message.clone()),
        origin: position(&again[0]),
        published_ms: None,
        first_failed_ms: again[0].first_failed_ms,
    };
    member.other(&again[0], plain).await;
    assert_eq!(member.receive(1).await[0].first_failed_ms, Some(11));
}

//! On a real server: what a member says when it goes, or its connection does.

mod last_words;
mod order;

use std::collections::BTreeSet;

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use zephcast_core::driver::{Driver, Fetched, Membership, Renewal};

use super::*;
use crate::hints::{self, Mark};
use crate::intake::judging;
use crate::lab::{Lab, NORMAL, PATIENCE, SUSPECT, fetch, until};
use crate::topology;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_it_did_not_judge_a_member_says_nothing() {
    let lab = Lab::start().await;
    lab.join().await.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    lab.publish("s.g").await;
    let channel = lab.channel().await;
    let taken = async {
        loop {
            if let Some(taken) = channel.basic_get("s.g".into(), BasicGetOptions::default()).await.unwrap() {
                return taken;
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("is there");
    let passing = lab.join().await;
    // It dies of it.
    channel.close(200, "".into()).await.unwrap();
    lab.held_by_members(1).await;
    passing.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    let mut next = lab.join().await;
    loop {
        match fetch(&mut next, NORMAL).await {
            Fetched::Suspects => break,
            Fetched::Batch(batch) => panic!("handed out among others: {batch:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_that_it_did_not_judge_goes_back_with_the_attempts_that_it_had() {
    let lab = Lab::start().await;
    let mut member = lab.join().await;
    lab.publish("s.g.suspects").await;
    until(&mut member, SUSPECT, |fetched| matches!(fetched, Fetched::Batch(_))).await;
    // It lives, and says so.
    lab.server.close_all_connections().await.unwrap();
    until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Lost(_))).await;
    until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Assigned(_))).await;
    takes_a_suspect_in_hand(&mut member).await;
    member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    let channel = lab.channel().await;
    let got = channel.basic_get("s.g.suspects".into(), BasicGetOptions::default()).await.unwrap().expect("is there");
    let headers = got.properties.headers().as_ref().expect("of a copy").inner();
    assert!(headers.contains_key("zephcast-copied-ms") && !headers.contains_key("zephcast-attempts"), "{headers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_died_of_a_suspect_that_was_in_hand_untried_when_connections_broke() {
    let lab = Lab::start().await;
    let mut member = lab.join().await;
    lab.publish("s.g.suspects").await;
    assert_eq!(attempt_at_suspect(&mut member).await, 1);
    for _ in 0..3 {
        lab.break_off().await;
        until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Assigned(_))).await;
        takes_a_suspect_in_hand(&mut member).await;
    }
    assert_eq!(attempt_at_suspect(&mut member).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_in_hand_when_its_member_leaves_without_a_connection_counts_as_tried() {
    let lab = Lab::start().await;
    let mut member = lab.join().await;
    lab.publish("s.g.suspects").await;
    assert_eq!(attempt_at_suspect(&mut member).await, 1);
    lab.break_off().await;
    let lost = async {
        loop {
            if let Some((unit, token)) = member.settler.renew(Renewal::default()).await.unwrap().pop() {
                return Returned { unit, token, attempts: 1 };
            }
        }
    };
    let tried = tokio::time::timeout(PATIENCE, lost).await.expect("is noticed");
    member.settler.leave(vec![tried], PATIENCE).await.expect_err("holds it");
    assert_eq!(attempt_at_suspect(&mut lab.join().await).await, 2);
}

/// Somebody who reads the hints, and keeps them for as long as the channel is open.
async fn reads_hints(channel: &Channel) -> lapin::Consumer {
    let options = BasicConsumeOptions::default();
    channel.basic_consume("s.g.hints".into(), "".into(), options, FieldTable::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_another_one_is_reading_counts() {
    /// How long it takes that one.
    const READING: Duration = Duration::from_millis(700);
    let lab = Lab::start().await;
    let mut member = outlives_a_suspect(&lab).await;
    let channel = lab.channel().await;
    let mut other = reads_hints(&channel).await;
    other.next().await.expect("a word").unwrap();
    let reading = async {
        tokio::time::sleep(READING).await;
        channel.close(200, "".into()).await.unwrap();
    };
    let (attempt, ()) = tokio::join!(attempt_at_suspect(&mut member), reading);
    assert_eq!(attempt, 1);
}

/// Of others: many more than the server sends without a pause.
const WORDS: u64 = 3_000;

fn of_another(number: u64) -> Mark {
    Mark::of(Some(&number.to_be_bytes()), b"", None)
}

/// Words, each in a message of its own, that these come from members that lived.
async fn write_hints(lab: &Lab, marks: impl Iterator<Item = Mark>) {
    let (options, channel) =
        (QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }, lab.channel().await);
    channel.queue_declare("s.g.hints".into(), options, FieldTable::default()).await.unwrap();
    for mark in marks {
        let word = hints::write(&[Hint { mark, count: 1, attempts: 0, is_innocent: true }]);
        let (options, none) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish("".into(), "s.g.hints".into(), options, word.as_bytes(), none).await.unwrap();
    }
    // Answered when all of them are there.
    channel.close(200, "".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_judge_at_the_same_time_all_come_to_an_end() {
    const MEMBERS: usize = 12;
    let lab = Lab::start().await;
    lab.join().await.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    write_hints(&lab, (0..WORDS).map(of_another)).await;
    let channel = lab.channel().await;
    for _ in 0..MEMBERS {
        lab.publish("s.g").await;
        channel.basic_get("s.g".into(), BasicGetOptions::default()).await.unwrap().expect("is there");
    }
    channel.close(200, "".into()).await.unwrap();
    let members = (0..MEMBERS).map(async |_| {
        let mut subscription = Lab::subscription();
        subscription.prefetch = 1;
        let mut member = lab.driver.join(subscription).await.unwrap();
        until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Suspects)).await;
        member
    });
    futures_util::future::join_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_that_are_made_anew_under_their_reader_are_not_read_for_ever() {
    let lab = Lab::start().await;
    lab.driver.admin().create_stream(&Lab::bound_by_a()).await.unwrap();
    let (member, channel) = (lab.begin().await, lab.channel().await);
    for _ in 0..10 {
        write_hints(&lab, (0..WORDS).map(of_another)).await;
        let remaking = async {
            let look = async || topology::queue(&member.brokers.control, "test", "s.g.hints").await.unwrap();
            let is_read = async || look().await.is_some_and(|(_, readers)| readers > 0);
            // Or it was done before it was seen.
            let seen = tokio::time::timeout(Duration::from_millis(100), async { while !is_read().await {} });
            drop(seen.await);
            channel.queue_delete("s.g.hints".into(), QueueDeleteOptions::default()).await.unwrap();
            write_hints(&lab, std::iter::once(of_another(0))).await;
        };
        let reading = tokio::time::timeout(PATIENCE, judging::read_of(&member, &[]));
        let (read, ()) = tokio::join!(reading, remaking);
        read.expect("in time").expect("it is alone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_many_words_counts() {
    let lab = Lab::start().await;
    lab.join().await.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    lab.publish("s.g.suspects").await;
    let channel = lab.channel().await;
    channel.basic_get("s.g.suspects".into(), BasicGetOptions::default()).await.unwrap().expect("is there");
    channel.close(200, "".into()).await.unwrap();
    let of_it = Mark::of(Some(b"one"), b"x", None).as_suspect();
    write_hints(&lab, (0..WORDS).map(of_another).chain([of_it])).await;
    let (mut one, mut other) = tokio::join!(lab.join(), lab.join());
    let (one, other) = (attempt_at_suspect(&mut one), attempt_at_suspect(&mut other));
    tokio::pin!(one, other);
    let attempt = tokio::select! { attempt = one => attempt, attempt = other => attempt };
    assert_eq!(attempt, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_said_though_nobody_can_look_for_what_is_not() {
    let lab = Lab::start().await;
    let mut member = outlives_a_suspect(&lab).await;
    lab.publish("s.g").await;
    until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Batch(_))).await;
    takes_a_suspect_in_hand(&mut member).await;
    let channel = lab.channel().await;
    let mut other = reads_hints(&channel).await;
    lab.break_off().await;
    until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Assigned(_))).await;
    let mark = Mark::of(Some(b"one"), b"x", None);
    let expected = hints::write(&[Hint { mark, count: 1, attempts: 0, is_innocent: true }]);
    let said = async {
        loop {
            let word = other.next().await.expect("a word").unwrap();
            if String::from_utf8_lossy(&word.data).contains(&expected) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, said).await.expect("is written");
    // Of the suspect it is said when that can be looked up.
    channel.close(200, "".into()).await.unwrap();
    assert_eq!(attempt_at_suspect(&mut member).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_waits_for_what_its_member_is_saying() {
    /// How long somebody else keeps the hints.
    const READING: Duration = Duration::from_millis(300);
    let lab = Lab::start().await;
    let mut member = outlives_a_suspect(&lab).await;
    takes_a_suspect_in_hand(&mut member).await;
    let channel = lab.channel().await;
    let mut other = reads_hints(&channel).await;
    other.next().await.expect("a word").unwrap();
    lab.break_off().await;
    until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Lost(_))).await;
    let renewing = async {
        member.settler.renew(Renewal::default()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let leaving = member.settler.leave(Vec::new(), PATIENCE);
    let ending = async {
        // Its process ends when it has left, whatever it is at.
        tokio::select! {
            biased;
            () = renewing => unreachable!("it never ends"),
            left = leaving => left.unwrap(),
        }
    };
    let reading = async {
        tokio::time::sleep(READING).await;
        channel.close(200, "".into()).await.unwrap();
    };
    tokio::join!(ending, reading);
    assert_eq!(attempt_at_suspect(&mut lab.join().await).await, 1);
}

/// A member that had a suspect when its connection broke, lives, and said so.
async fn outlives_a_suspect(lab: &Lab) -> Membership {
    let mut member = lab.join().await;
    lab.publish("s.g.suspects").await;
    assert_eq!(attempt_at_suspect(&mut member).await, 1);
    lab.break_off().await;
    until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Assigned(_))).await;
    member
}

async fn attempt_at_suspect(member: &mut Membership) -> u32 {
    match until(member, SUSPECT, |fetched| matches!(fetched, Fetched::Batch(_))).await {
        Fetched::Batch(batch) => batch.messages[0].attempt,
        _ => unreachable!("is one"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_are_written_though_their_queue_is_gone() {
    let lab = Lab::start().await;
    let mut member = lab.join().await;
    lab.publish("s.g").await;
    for _ in 0..3 {
        let came = until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Batch(_) | Fetched::Suspects)).await;
        assert!(matches!(came, Fetched::Batch(_)), "its member lives");
        // As the broker does itself after hours without a reader; from the second round on the member knows it.
        lab.channel().await.queue_delete("s.g.hints".into(), QueueDeleteOptions::default()).await.unwrap();
        lab.break_off().await;
        until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Assigned(_))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_without_a_connection_says_that_it_lived() {
    let lab = Lab::start().await;
    lab.join().await.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    lab.publish("s.g").await;
    for has_told in [false, true] {
        let mut member = lab.join().await;
        let came = until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Batch(_) | Fetched::Suspects)).await;
        assert!(matches!(came, Fetched::Batch(_)), "its last member lived");
        // What the last one said is used up, and helps nobody else.
        lab.channel().await.queue_delete("s.g.hints".into(), QueueDeleteOptions::default()).await.unwrap();
        lab.break_off().await;
        if has_told {
            until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Lost(_))).await;
            member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
            continue;
        }
        let lost = async {
            while member.settler.renew(Renewal { held: Vec::new(), oldest: None }).await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, lost).await.expect("is noticed");
        let error = member.settler.leave(Vec::new(), PATIENCE).await.expect_err("holds something");
        assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    }
    let came =
        until(&mut lab.join().await, NORMAL, |fetched| matches!(fetched, Fetched::Batch(_) | Fetched::Suspects)).await;
    assert!(matches!(came, Fetched::Batch(_)), "its last member lived");
}

/// A queue of hints that takes none for now.
async fn spoil_hints(channel: &Channel) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("s.g.hints".into(), options, arguments).await.unwrap();
    let (options, none) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel.basic_publish("".into(), "s.g.hints".into(), options, b"", none).await.unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_said_when_a_connection_broke_is_said_as_soon_as_it_can_be() {
    for leaves in [false, true] {
        let lab = Lab::start().await;
        let mut member = lab.join().await;
        lab.publish("s.g").await;
        until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Batch(_))).await;
        let channel = lab.channel().await;
        spoil_hints(&channel).await;
        lab.break_off().await;
        until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Assigned(_))).await;
        channel.queue_delete("s.g.hints".into(), QueueDeleteOptions::default()).await.unwrap();
        if leaves {
            member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
        } else {
            member.settler.renew(Renewal::default()).await.unwrap();
        }
        let mut words = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(got) = channel.basic_get("s.g.hints".into(), options).await.unwrap() {
            words.push(String::from_utf8(got.delivery.data.clone()).unwrap());
        }
        assert!(words.iter().any(|word| word.ends_with(" 1 0 innocent\n")), "{words:?}, leaves: {leaves}");
    }
}

/// Of how many consumers members said that messages may have been on their way to them.
async fn pardons(lab: &Lab) -> usize {
    let (channel, mut pardons) = (lab.channel().await, BTreeSet::new());
    let options = BasicGetOptions { no_ack: true };
    while let Some(got) = channel.basic_get("s.g.hints".into(), options).await.unwrap() {
        let text = String::from_utf8(got.delivery.data.clone()).unwrap();
        let said = text.lines().filter_map(|line| line.strip_prefix("pardon ")?.split_once(' '));
        pardons.extend(said.map(|(consumer, _)| consumer.to_owned()));
    }
    pardons.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_tries_to_leave_several_times_excuses_one_delivery() {
    let lab = Lab::start().await;
    let mut member = lab.join().await;
    lab.publish("s.g").await;
    until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Batch(_))).await;
    lab.publish("s.g.suspects").await;
    until(&mut member, SUSPECT, |fetched| matches!(fetched, Fetched::Batch(_))).await;
    // The suspect cannot go back.
    lab.channel().await.queue_delete("s.g.suspects".into(), QueueDeleteOptions::default()).await.unwrap();
    for _ in 0..3 {
        let error = member.settler.leave(Vec::new(), PATIENCE).await.expect_err("has a suspect");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    lab.break_off().await;
    let error = async {
        loop {
            match member.settler.leave(Vec::new(), PATIENCE).await {
                // Until it is known that the connection broke.
                Err(error) if error.is_retryable() => {}
                left => return left.expect_err("held something"),
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, error).await.expect("in time");
    assert_eq!((error.kind(), pardons(&lab).await), (ErrorKind::LeaseLost, 1), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_joins_anew_excuses_one_delivery() {
    let lab = Lab::start_with("&single-active-consumer=true").await;
    let mut member = lab.join().await;
    // Of these, too few have room for the window with which it began.
    lab.publish_large("s.g", 40_000).await;
    until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Lost(_))).await;
    until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Assigned(_))).await;
    assert_eq!(pardons(&lab).await, 1);
}

/// It has one from the server, and nobody waits to hear how many attempts count.
async fn takes_a_suspect_in_hand(member: &mut Membership) {
    member.settler.interrupt();
    until(member, SUSPECT, |fetched| matches!(fetched, Fetched::Idle)).await;
}

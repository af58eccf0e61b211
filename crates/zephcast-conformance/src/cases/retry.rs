//! F1, F2, F4: failures that are tried again.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use zephcast_core::{Delivery, HandlerError, Message, Retry, Verdict};

use crate::case::{Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, number, sorted};

pub(super) const CASES: &[Case] = &[
    case!("F1", "a failed message comes again with its attempts counted", counted),
    case!("F1", "a message that waits for its next attempt blocks no other", blocks_nobody),
    case!("F1", "a key that fails again and again blocks no other key", other_keys),
    case!("F1", "a message handed back comes again as the same attempt", handed_back),
    case!("F2", "a delayed redelivery survives the end of the process that asked for it", survives),
    case!("F2", "a delayed redelivery is seen by its own group only", own_group),
    case!("F4", "a panic and an undecodable message are failures, and the member lives on", panics),
];

/// Attempt 1, 2, 3, with the payload unchanged; then it is done.
async fn counted(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let retry = Retry::exponential(Duration::from_millis(40)).max_attempts(5);
    let mut consumer = lab.member(&process, GROUP).retry(retry).start().await?;
    lab.publish(&process, 0..1).await?;
    for attempt in 1..=3 {
        let delivery = lab.next(&mut consumer, &format!("attempt {attempt}")).await?;
        ensure!(delivery.attempt() == attempt, "attempt {attempt} says that it is attempt {}", delivery.attempt());
        ensure!(
            delivery.redelivered() == (attempt > 1),
            "attempt {attempt}: redelivered is {}",
            delivery.redelivered()
        );
        ensure!(number(&delivery)? == 0, "another message came");
        match attempt {
            3 => delivery.ack()?,
            _ => delivery.fail("on purpose")?,
        }
    }
    lab.within("the commit", consumer.commit()).await??;
    lab.until_done(&process, GROUP).await?;
    lab.quiet(&mut consumer, Duration::from_millis(200), "the third attempt was acked").await
}

/// One of twenty of one key is postponed: the nineteen others come before it, and it not before its time.
async fn blocks_nobody(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 0..20).await?;
    let delay = Duration::from_millis(800);
    let first = lab.next(&mut consumer, "the first message").await?;
    let (postponed, since) = (number(&first)?, Instant::now());
    lab.within("the schedule", first.settle_confirmed(Verdict::NackAfter(delay))).await??;
    let mut others = lab.take_acked(&mut consumer, 19).await?;
    ensure!(!others.contains(&postponed), "{postponed} came before its time");
    let again = lab.next(&mut consumer, "the postponed message").await?;
    let waited = since.elapsed();
    others.push(number(&again)?);
    ensure!(sorted(others.clone()) == (0..20).collect::<Vec<_>>(), "not each of 20 came once: {others:?}");
    // A broker's clock may be a little off ours.
    ensure!(waited >= delay.mul_f32(0.9), "postponed by {delay:?}, it came after {waited:?}");
    ensure!(again.attempt() == 1, "being postponed is no failed attempt, and yet it is attempt {}", again.attempt());
    ensure!(again.redelivered(), "it was delivered before, and the delivery denies it");
    again.ack()?;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// With order by key, one key fails until all others are through: if it blocked them, this would never end.
async fn other_keys(lab: Lab) -> Checked {
    let process = lab.process().await?;
    drop(lab.join(&process).await?);
    let publisher = lab.publisher(&process).await?;
    let message =
        |n: usize| Message::new(n.to_string()).with_key(if n == 0 { "bad".into() } else { format!("good-{}", n % 5) });
    for receipt in lab.within("receipts", publisher.publish_all((0..60).map(message))).await? {
        receipt?;
    }
    let done = watch::Sender::new((0, false));
    let handler = async |delivery: &Delivery| {
        let bad = delivery.key().is_some_and(|key| key == "bad");
        if bad && done.borrow().0 < 59 {
            return Err(HandlerError::retry("not before the others"));
        }
        done.send_modify(|(others, over)| if bad { *over = true } else { *others += 1 });
        Ok(())
    };
    let mut ended = done.subscribe();
    let shutdown = async {
        let _ = ended.wait_for(|(_, over)| *over).await;
    };
    let group = process.group(lab.stream().as_str(), GROUP).concurrency(4).ordered_by_key().lease(lab.lease());
    let retry =
        Retry::exponential(Duration::from_millis(20)).max_delay(Duration::from_millis(100)).max_attempts(10_000);
    lab.within("the bad key's turn", group.retry(retry).run(handler, shutdown)).await??;
    ensure!(done.borrow().0 == 59, "{} of 59 others were handled", done.borrow().0);
    lab.until_done(&process, GROUP).await.map(drop)
}

/// Nack and drop: at once, redelivered, attempt unchanged.
async fn handed_back(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 0..1).await?;
    for round in 0..4 {
        let delivery = lab.next(&mut consumer, "the message").await?;
        ensure!(delivery.attempt() == 1, "handed back {round} times, it is attempt {}", delivery.attempt());
        ensure!(delivery.redelivered() == (round > 0), "handed back {round} times: {}", delivery.redelivered());
        match round {
            0 => delivery.nack()?,
            1 => drop(delivery),
            2 => delivery.nack()?,
            _ => delivery.ack()?,
        }
    }
    ensure!(consumer.report().dropped == 1, "one was dropped, and yet {:?}", consumer.report());
    lab.within("the commit", consumer.commit()).await??;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// Postponed, confirmed, and the process dies: another member gets it, at its time, once.
async fn survives(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut dying = lab.join(&first).await?;
    lab.publish(&second, 0..3).await?;
    let delay = Duration::from_millis(700);
    let since = Instant::now();
    for delivery in lab.take(&mut dying, 3).await? {
        lab.within("the schedule", delivery.settle_confirmed(Verdict::NackAfter(delay))).await??;
    }
    first.crash();
    drop(dying);
    let mut consumer = lab.join(&second).await?;
    let taken = lab.take_acked(&mut consumer, 3).await?;
    let waited = since.elapsed();
    ensure!(sorted(taken.clone()) == [0, 1, 2], "three were postponed, {taken:?} came");
    ensure!(waited >= delay.mul_f32(0.9), "postponed by {delay:?}, all came after {waited:?}");
    lab.quiet(&mut consumer, lab.lease(), "each came").await?;
    lab.until_done(&second, GROUP).await.map(drop)
}

/// The other group got the message when it was published, and does not get it again.
async fn own_group(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut one = lab.member(&process, "one").start().await?;
    let mut two = lab.member(&process, "two").start().await?;
    lab.publish(&process, 0..1).await?;
    let delivery = lab.next(&mut one, "the message").await?;
    lab.take_acked(&mut two, 1).await?;
    let later = Verdict::NackAfter(Duration::from_millis(150));
    lab.within("the schedule", delivery.settle_confirmed(later)).await??;
    lab.take_acked(&mut one, 1).await?;
    lab.until_done(&process, "one").await?;
    lab.quiet(&mut two, Duration::from_millis(300), "the redelivery is the other group's").await
}

/// Each is tried twice and then a dead letter with its reason; everything else is handled by the same member.
async fn panics(lab: Lab) -> Checked {
    let process = lab.process().await?;
    drop(lab.join(&process).await?);
    let publisher = lab.publisher(&process).await?;
    let mut messages: Vec<Message> = (0..20).map(|n| n.to_string().into()).collect();
    messages.insert(5, Message::new(vec![0xff, 0xfe]));
    messages.insert(10, Message::new("panic"));
    for receipt in lab.within("receipts", publisher.publish_all(messages)).await? {
        receipt?;
    }
    let attempts = Mutex::new(BTreeMap::<Vec<u8>, u32>::new());
    let handled = watch::Sender::new((0, 0));
    let handler = async |delivery: &Delivery| {
        let attempt = {
            let mut attempts = attempts.lock().map_err(|_| HandlerError::retry("poisoned"))?;
            let attempt = attempts.entry(delivery.payload().to_vec()).or_default();
            *attempt += 1;
            *attempt
        };
        let text = delivery.payload_str();
        let bad = text.as_ref().map_or(true, |text| *text == "panic");
        handled.send_modify(|(good, last)| *(if bad { last } else { good }) += u32::from(!bad || attempt == 2));
        if text? == "panic" {
            // As a panic, without its message and backtrace on the terminal.
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        Ok::<_, HandlerError>(())
    };
    let mut ended = handled.subscribe();
    let shutdown = async {
        let _ = ended.wait_for(|counts| *counts == (20, 2)).await;
    };
    let retry = Retry::exponential(Duration::from_millis(10)).max_attempts(2);
    let group = process.group(lab.stream().as_str(), GROUP).concurrency(2).lease(lab.lease()).retry(retry);
    let report = lab.within("all attempts", group.run(handler, shutdown)).await??;
    ensure!(report.dead_lettered == 2 && report.acked == 20, "20 acked and 2 dead letters, not {report:?}");
    let letters = process.admin().dead_letters(lab.stream(), &lab.group()?, None, 10).await?;
    ensure!(letters.len() == 2, "2 dead letters, not {}", letters.len());
    for letter in letters {
        let what = if letter.message.payload() == "panic" { "on purpose" } else { "UTF-8" };
        ensure!(letter.reason.contains(what), "the reason {:?} does not say {what:?}", letter.reason);
        ensure!(letter.attempts == 2, "{} attempts, not 2", letter.attempts);
    }
    lab.until_done(&process, GROUP).await.map(drop)
}

//! F3, F6: the dead letters.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zephcast_core::driver::{DeadLetter, Redrive};
use zephcast_core::{Event, Message, Position, Retry, Verdict};

use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, Process, number};

pub(super) const CASES: &[Case] = &[
    case!("F3", "after its last attempt a message is a dead letter that tells its story", story),
    case!("F3", "a dead letter tells its first failure, whatever came in between", first_failure),
    case!("F3", "a rejected message is a dead letter at once", rejected),
    case!("F3", "while dead letters are refused the message stays, and others go on", refused),
    case!("F3", "a dead letter that was refused when its member died is not lost", refused_then_dead),
    case!("F3", "a dead letter whose reply was lost is there", lost_reply),
    case!("F6", "dead letters are listed in order and by page", listed),
    case!("F6", "a redriven dead letter goes to its own group, with attempts afresh", redriven),
    case!("F6", "purging removes every dead letter and says how many", purged),
];

/// Reason, attempts, times, origin, headers, key, payload.
async fn story(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let retry = Retry::exponential(Duration::from_millis(20)).max_attempts(3);
    let mut consumer = lab.member(&process, GROUP).retry(retry).start().await?;
    let mut events = consumer.events();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent =
        Message::new("payload").with_key("key").with_header("traceparent", traceparent).with_header("x", vec![0xff, 0]);
    let receipt = lab.within("a receipt", lab.publisher(&process).await?.publish(sent.clone())).await??;
    let (mut position, mut published) = (None, None);
    for attempt in 1..=3_u32 {
        let delivery = lab.next(&mut consumer, &format!("attempt {attempt}")).await?;
        ensure!(delivery.attempt() == attempt, "attempt {attempt} says that it is attempt {}", delivery.attempt());
        let first = *position.get_or_insert(delivery.position());
        ensure!(
            delivery.position() == first,
            "attempt {attempt}: the position is {}, not {first}",
            delivery.position()
        );
        let at = *published.get_or_insert(delivery.published_ms());
        ensure!(
            delivery.published_ms() == at,
            "attempt {attempt}: published at {:?}, not {at:?}",
            delivery.published_ms()
        );
        delivery.fail(format!("reason {attempt}"))?;
    }
    let is_dead =
        |event| if let Event::DeadLettered { position, reason } = event { Some((position, reason)) } else { None };
    let (told, reason) = lab.event(&mut events, "dead-lettered", is_dead).await?;
    ensure!(Some(told) == position && reason == "reason 3", "the event says {told} and {reason:?}");
    let letters = letters(&lab, &process, None, 10).await?;
    let [letter] = &letters[..] else { return Err(Broken::new(format!("{} dead letters, not 1", letters.len()))) };
    ensure!(letter.reason == "reason 3", "the reason is {:?}", letter.reason);
    ensure!(letter.attempts == 3, "{} attempts, not 3", letter.attempts);
    let origin = format!("{}@{told}", lab.stream());
    ensure!(letter.origin == origin, "the origin is {:?}, not {origin:?}", letter.origin);
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let (Some(first), Some(last)) = (letter.first_failed_ms, letter.last_failed_ms) else {
        return Err(Broken::new("the times of failure are missing"));
    };
    ensure!(first <= last && last <= now + 1_000 && now < first + 60_000, "failed from {first} to {last}, now {now}");
    let mut expected = sent.with_id(receipt.id);
    ensure!(letter.message.headers().len() == 2, "the headers are {:?}", letter.message.headers());
    ensure!(letter.message.headers().first_str("traceparent") == Some(traceparent), "traceparent is gone");
    *expected.headers_mut() = letter.message.headers().clone();
    ensure!(letter.message == expected, "the message is {:?}, not {expected:?}", letter.message);
    let status = lab.until_done(&process, GROUP).await?;
    ensure!(status.dead_letters == Some(1), "status counts {:?} dead letters", status.dead_letters);
    Ok(())
}

/// It fails, is put off without a failure, and is given up.
async fn first_failure(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let retry = Retry::exponential(Duration::from_millis(20));
    let mut consumer = lab.member(&process, GROUP).retry(retry).start().await?;
    lab.publish(&process, 0..1).await?;
    lab.next(&mut consumer, "a message").await?.fail("not yet")?;
    let failed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    lab.next(&mut consumer, "the second attempt").await?.nack_after(Duration::from_millis(100))?;
    lab.next(&mut consumer, "the third attempt").await?.reject("never")?;
    lab.until_done(&process, GROUP).await?;
    let letters = letters(&lab, &process, None, 10).await?;
    let [letter] = &letters[..] else { return Err(Broken::new(format!("{} dead letters, not 1", letters.len()))) };
    let first = letter.first_failed_ms;
    ensure!(first.is_some_and(|first| first <= failed), "failed first at {first:?}, by {failed} it had");
    Ok(())
}

/// No second attempt, whatever the policy.
async fn rejected(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 0..2).await?;
    let delivery = lab.next(&mut consumer, "a message").await?;
    lab.within("the dead letter", delivery.settle_confirmed(Verdict::Reject("never".into()))).await??;
    lab.take_acked(&mut consumer, 1).await?;
    let letters = letters(&lab, &process, None, 10).await?;
    ensure!(letters.len() == 1 && letters[0].reason == "never", "one dead letter with its reason, not {letters:?}");
    ensure!(letters[0].attempts == 1, "one attempt, not {}", letters[0].attempts);
    ensure!(consumer.report().dead_lettered == 1, "the report says {:?}", consumer.report());
    lab.until_done(&process, GROUP).await?;
    lab.quiet(&mut consumer, Duration::from_millis(200), "it was given up").await
}

/// The acks of others are written meanwhile; the refusal is an event; once possible the letter is there, once.
async fn refused(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let mut events = consumer.events();
    lab.publish(&process, 0..10).await?;
    let mut held = lab.take(&mut consumer, 10).await?;
    process.seam().refuse_dead_letters(true);
    held.remove(0).reject("never")?;
    for delivery in held {
        delivery.ack()?;
    }
    lab.within("two refusals", process.seam().dead_letters_refused(2)).await?;
    let is_failed = |event| matches!(event, Event::SettleFailed(_)).then_some(());
    lab.event(&mut events, "settling failed", is_failed).await?;
    let acked = |_: &zephcast_core::GroupStatus| consumer.report().acked == 9;
    let status = lab.until_status(&process, GROUP, "the others are acked", acked).await?;
    // Where an offset is committed, it cannot pass the refused one.
    ensure!(status.lag >= Some(1), "one is refused, and the lag is {:?}", status.lag);
    ensure!(status.dead_letters == Some(0), "refused, and yet {:?} dead letters", status.dead_letters);
    process.seam().refuse_dead_letters(false);
    lab.until_done(&process, GROUP).await?;
    let letters = letters(&lab, &process, None, 10).await?;
    ensure!(letters.len() == 1, "one dead letter, not {}", letters.len());
    lab.quiet(&mut consumer, Duration::from_millis(200), "it is a dead letter").await
}

/// The original is settled only after its dead letter is stored: until then it belongs to the group.
async fn refused_then_dead(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut dying = lab.join(&first).await?;
    lab.publish(&second, 0..1).await?;
    first.seam().refuse_dead_letters(true);
    lab.next(&mut dying, "the message").await?.reject("never")?;
    lab.within("a refusal", first.seam().dead_letters_refused(1)).await?;
    first.crash();
    drop(dying);
    let mut consumer = lab.join(&second).await?;
    let again = lab.next(&mut consumer, "the message whose dead letter was refused").await?;
    ensure!(number(&again)? == 0, "another message came");
    again.ack()?;
    let status = lab.until_done(&second, GROUP).await?;
    ensure!(status.dead_letters == Some(0), "refused, and yet {:?} dead letters", status.dead_letters);
    Ok(())
}

/// Settled again after the lost reply: at least one letter, and the original does not come again.
async fn lost_reply(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 0..1).await?;
    let delivery = lab.next(&mut consumer, "the message").await?;
    process.seam().lose_settle_replies(1);
    lab.within("the dead letter", delivery.settle_confirmed(Verdict::Reject("never".into()))).await??;
    let letters = letters(&lab, &process, None, 10).await?;
    // A crash between the two may double a dead letter; it never loses one.
    ensure!((1..=2).contains(&letters.len()), "{} dead letters of one message", letters.len());
    lab.until_done(&process, GROUP).await?;
    lab.quiet(&mut consumer, lab.lease(), "it is a dead letter").await
}

/// Pages follow each other without a gap, and the order is that of the failures.
async fn listed(lab: Lab) -> Checked {
    let process = lab.process().await?;
    reject(&lab, &process, 10).await?;
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = letters(&lab, &process, after, 4).await?;
        ensure!(page.len() <= 4, "asked for at most 4, {} came", page.len());
        let Some(last) = page.last() else { break };
        after = Some(last.position);
        for letter in &page {
            listed.push(letter.message.payload_str()?.parse::<usize>()?);
        }
        ensure!(listed.len() <= 10, "the pages repeat themselves: {listed:?}");
    }
    ensure!(listed == (0..10).collect::<Vec<_>>(), "0 to 9 in order, not {listed:?}");
    Ok(())
}

/// It is out of the list, comes to its group as attempt 1, and not to the other; a second time it is gone.
async fn redriven(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut other = lab.member(&process, "other").start().await?;
    reject(&lab, &process, 2).await?;
    let mut published = Vec::new();
    for delivery in lab.take(&mut other, 2).await? {
        published.push((delivery.payload().clone(), delivery.published_ms()));
        delivery.ack()?;
    }
    let first = letters(&lab, &process, None, 10).await?.swap_remove(0);
    let (group, admin) = (lab.group()?, process.admin());
    let outcome = admin.redrive(lab.stream(), &group, first.position).await?;
    ensure!(outcome == Redrive::Redriven, "the redrive is {outcome:?}");
    let outcome = admin.redrive(lab.stream(), &group, first.position).await?;
    ensure!(outcome == Redrive::Gone, "the second redrive is {outcome:?}");
    let left = letters(&lab, &process, None, 10).await?;
    ensure!(left.len() == 1 && left[0].position != first.position, "one other dead letter is left, not {left:?}");
    let mut consumer = lab.join(&process).await?;
    let again = lab.next(&mut consumer, "the redriven message").await?;
    ensure!(again.payload() == first.message.payload(), "another message came");
    let as_first = (again.payload().clone(), again.published_ms());
    ensure!(published.contains(&as_first), "it was published at another time: {as_first:?}, not as in {published:?}");
    ensure!(again.attempt() == 1, "attempts are counted afresh, and yet it is attempt {}", again.attempt());
    again.ack()?;
    lab.until_done(&process, GROUP).await?;
    lab.quiet(&mut other, Duration::from_millis(300), "the redrive was for one group").await?;
    lab.quiet(&mut consumer, Duration::from_millis(100), "it was redriven once").await
}

/// Nothing is left, and nothing of the stream itself is touched.
async fn purged(lab: Lab) -> Checked {
    let process = lab.process().await?;
    reject(&lab, &process, 5).await?;
    lab.publish(&process, 5..6).await?;
    let count = process.admin().purge_dead_letters(lab.stream(), &lab.group()?).await?;
    ensure!(count == 5, "5 were purged, not {count}");
    ensure!(letters(&lab, &process, None, 10).await?.is_empty(), "dead letters are left");
    let again = process.admin().purge_dead_letters(lab.stream(), &lab.group()?).await?;
    ensure!(again == 0, "nothing was left to purge, and yet {again}");
    let mut consumer = lab.join(&process).await?;
    let taken = lab.take_acked(&mut consumer, 1).await?;
    ensure!(taken == [5], "the stream's own message comes, not {taken:?}");
    Ok(())
}

/// Publishes messages and rejects them in order.
async fn reject(lab: &Lab, process: &Process, count: usize) -> Checked {
    let mut consumer = lab.join(process).await?;
    lab.publish(process, 0..count).await?;
    for _ in 0..count {
        let delivery = lab.next(&mut consumer, "a message to reject").await?;
        lab.within("the dead letter", delivery.settle_confirmed(Verdict::Reject("never".into()))).await??;
    }
    lab.within("closing", consumer.close(Duration::from_secs(5))).await??;
    Ok(())
}

async fn letters(lab: &Lab, process: &Process, after: Option<Position>, limit: usize) -> Checked<Vec<DeadLetter>> {
    Ok(process.admin().dead_letters(lab.stream(), &lab.group()?, after, limit).await?)
}

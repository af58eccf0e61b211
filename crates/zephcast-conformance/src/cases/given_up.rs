//! D4 for what works on its own: groups of handlers, flushes, batches and closings that are dropped on their way.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use zephcast_core::{Delivery, Message, Publisher};

use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, Process, number, numbers, sorted};
use crate::poll::{dropped_at, points};

pub(super) const CASES: &[Case] = &[
    case!("D4", "dropping run at any point loses nothing and repeats nothing that was handled", run),
    case!("D4", "dropping flush takes no room and no message away", flush),
    case!("D4", "dropping publish_all leaves the beginning of the batch, without a gap or a double", publish_all),
    case!("D4", "dropping the client's close loses nothing that is on its way", close),
];

/// A wake that does not come ends the wait for it.
const WAKE: Duration = Duration::from_millis(40);
/// Room of the publishers here: less than they have to send.
const ROOM: u32 = 4;

/// Handlers are dropped in the middle and messages while they wait for their key, by turns with one member and with two.
/// Whatever a handler finished is settled with it, so it never comes again.
async fn run(lab: Lab) -> Checked {
    const COUNT: usize = 400;
    let process = lab.process().await?;
    drop(lab.join(&process).await?);
    let publisher = lab.publisher(&process).await?;
    let messages = (0..COUNT).map(|n| Message::new(n.to_string()).with_key(format!("key-{}", n % 5)));
    for receipt in lab.within("receipts", publisher.publish_all(messages)).await? {
        receipt?;
    }
    let (began, finished) = (watch::Sender::new(0), Mutex::new(BTreeSet::new()));
    let finish = |delivery: &Delivery| {
        let number = number(delivery)?;
        let fresh = finished.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        ensure!(fresh, "{number} came again after it was handled");
        Checked::Ok(())
    };
    let handler = async |delivery: &Delivery| {
        began.send_modify(|count| *count += 1);
        // Two more points to be dropped at.
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        finish(delivery).map_err(|broken| zephcast_core::HandlerError::reject(broken.to_string()))
    };
    let group = |turn: usize| {
        let group = process.group(lab.stream().as_str(), GROUP).members(1 + turn % 2).concurrency(4);
        let group = group.prefetch(16).lease(lab.lease()).drain(Duration::from_secs(10));
        if turn % 4 < 2 { group.ordered_by_key() } else { group }
    };
    // While it joins, and wherever it is by then.
    for (turn, at) in points(8).enumerate() {
        let run = dropped_at(at, group(turn).run(&handler, pending()));
        if let Ok(Some(ended)) = tokio::time::timeout(WAKE, run).await {
            return Err(Broken::new(format!("run ended unasked: {ended:?}")));
        }
    }
    // While handlers are at work: as soon as so many more have begun.
    for turn in 0..16 {
        let (run, mut count) = (group(turn).run(&handler, pending()), began.subscribe());
        let enough = *count.borrow() + 1 + turn;
        tokio::select! {
            ended = run => return Err(Broken::new(format!("run ended unasked: {ended:?}"))),
            reached = lab.within("handlers to begin", count.wait_for(|begun| *begun >= enough)) => reached?.map(drop)?,
        }
    }
    let count = || finished.lock().unwrap_or_else(PoisonError::into_inner).len();
    let (begun, done) = (*began.borrow(), count());
    ensure!(begun > done, "of {begun} handlers {done} finished: none was dropped, so nothing is proved");
    let mut last = lab.join(&process).await?;
    while count() < COUNT {
        let delivery = lab.next(&mut last, &format!("the rest; {} of {COUNT} so far", count())).await?;
        finish(&delivery)?;
        delivery.ack()?;
    }
    lab.within("the commit", last.commit()).await??;
    let done = lab.until_done(&process, GROUP).await?;
    ensure!(done.dead_letters.unwrap_or(0) == 0, "a handler saw a message again: {done:?}");
    Ok(())
}

async fn narrow(lab: &Lab, process: &Process) -> Checked<Publisher> {
    let builder = process.publisher(lab.stream().as_str()).in_flight(ROOM);
    Ok(lab.within("a publisher", builder.into_future()).await??)
}

/// While nothing is answered, a flush is dropped; afterwards the whole room is there again, and a flush that ends has
/// waited for every answer.
async fn flush(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let publisher = narrow(&lab, &process).await?;
    let mut published = 0;
    for at in points(4) {
        process.seam().hold_publishes(true);
        let mut waiting = Vec::new();
        for _ in 0..ROOM {
            waiting.push(lab.within("the whole room", publisher.enqueue(published.to_string())).await??);
            published += 1;
        }
        let early = tokio::time::timeout(WAKE, dropped_at(at, publisher.flush())).await;
        ensure!(!matches!(early, Ok(Some(()))), "a flush ended with {ROOM} messages unanswered");
        process.seam().hold_publishes(false);
        lab.within("the flush", publisher.flush()).await?;
        for receipt in waiting {
            let answer = receipt.now_or_never().ok_or_else(|| Broken::new("flushed, and yet without an answer"))?;
            answer?;
        }
    }
    once(&lab, &process, &mut consumer, (0..published).collect()).await
}

/// What is left out is the end of a batch: what came after the point where it was dropped.
async fn publish_all(lab: Lab) -> Checked {
    const BATCH: usize = 12;
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let publisher = narrow(&lab, &process).await?;
    let message = |n: usize| Message::new(n.to_string()).with_key("key");
    let mut first = 0;
    for at in points(8) {
        let batch = (first..first + BATCH).map(message);
        if let Ok(Some(answers)) = tokio::time::timeout(WAKE, dropped_at(at, publisher.publish_all(batch))).await {
            answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        first += BATCH;
    }
    // All of one key, so everything before it has come when the last one comes.
    for receipt in lab.within("receipts", publisher.publish_all([message(first)])).await? {
        receipt?;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&first) {
        let delivery = lab.next(&mut consumer, "the message after the last batch").await?;
        seen.push(number(&delivery)?);
        delivery.ack()?;
    }
    lab.quiet(&mut consumer, Duration::from_millis(200), "everything came").await?;
    let different: BTreeSet<usize> = seen.iter().copied().collect();
    ensure!(different.len() == seen.len(), "one came twice: {seen:?}");
    let gap = (0..first).find(|n| n % BATCH > 0 && different.contains(n) && !different.contains(&(n - 1)));
    ensure!(gap.is_none(), "{gap:?} was sent and the one before it was not: {seen:?}");
    ensure!(different.len() <= first, "no batch was dropped, so nothing is proved");
    Ok(())
}

/// Closing is dropped while messages wait for their answer; closing again waits for them as the first would have.
async fn close(lab: Lab) -> Checked {
    let reader = lab.process().await?;
    let mut consumer = lab.join(&reader).await?;
    let mut published = 0;
    for at in points(4) {
        let process = lab.process().await?;
        let publisher = lab.publisher(&process).await?;
        process.seam().hold_publishes(true);
        let mut waiting = Vec::new();
        for _ in 0..8 {
            waiting.push(lab.within("room", publisher.enqueue(published.to_string())).await??);
            published += 1;
        }
        let deadline = Duration::from_secs(10);
        let early = tokio::time::timeout(WAKE, dropped_at(at, process.close(deadline))).await;
        ensure!(!matches!(early, Ok(Some(_))), "closed with messages unanswered: {early:?}");
        let let_go = async {
            // Only after closing began, so that one which waits for nothing is too early.
            tokio::task::yield_now().await;
            process.seam().hold_publishes(false);
        };
        let (closed, ()) = tokio::join!(lab.within("closing", process.close(deadline)), let_go);
        closed??;
        for receipt in waiting {
            lab.within("the answer", receipt).await??;
        }
    }
    once(&lab, &reader, &mut consumer, (0..published).collect()).await
}

/// Each of these comes once, and no other.
async fn once(lab: &Lab, process: &Process, consumer: &mut zephcast_core::Consumer, expected: Vec<usize>) -> Checked {
    let taken = lab.take(consumer, expected.len()).await?;
    let seen = sorted(numbers(&taken)?);
    ensure!(seen == expected, "{} were stored, {seen:?} came", expected.len());
    taken.into_iter().try_for_each(Delivery::ack)?;
    lab.quiet(consumer, Duration::from_millis(200), "each came").await?;
    lab.until_done(process, GROUP).await.map(drop)
}

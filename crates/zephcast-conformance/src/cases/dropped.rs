//! D4: nothing is lost by dropping any future at any point.

use std::collections::BTreeSet;
use std::time::Duration;

use zephcast_core::Message;

use crate::case::{Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, number};
use crate::poll::{dropped_at, points};

pub(super) const CASES: &[Case] = &[
    case!("D4", "dropping next loses nothing", next),
    case!("D4", "dropping publish and enqueue leaves no gap and no double", publish),
    case!("D4", "dropping ack_confirmed settles or redelivers", ack_confirmed),
    case!("D4", "dropping commit loses no settlement", commit),
    case!("D4", "dropping close and start strands nothing", close),
];

/// No future here needs more polls than this before it is ready.
const POLLS: usize = 6;
/// A wake that does not come ends the wait for it.
const WAKE: Duration = Duration::from_millis(40);

/// While messages come one by one, `next` is dropped after every number of polls, and after every wake.
async fn next(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.member(&process, GROUP).prefetch(8).start().await?;
    let publisher = lab.publisher(&process).await?;
    let mut seen = Vec::new();
    let mut published = 0;
    for at in points(POLLS).chain(points(POLLS)) {
        for _ in 0..4 {
            drop(lab.within("room", publisher.enqueue(published.to_string())).await??);
            published += 1;
            if let Ok(Some(Some(delivery))) = tokio::time::timeout(WAKE, dropped_at(at, consumer.next())).await {
                let delivery = delivery?;
                seen.push(number(&delivery)?);
                delivery.ack()?;
            }
        }
    }
    seen.extend(lab.take_acked(&mut consumer, published - seen.len()).await?);
    seen.sort_unstable();
    ensure!(seen == (0..published).collect::<Vec<_>>(), "of 0 to {published} came {seen:?}");
    lab.until_done(&process, GROUP).await.map(drop)
}

/// A dropped publish happened or did not; what has a receipt comes once, and the publisher goes on.
async fn publish(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let builder = process.publisher(lab.stream().as_str()).in_flight(4);
    let publisher = lab.within("a publisher", builder.into_future()).await??;
    let (mut confirmed, mut n) = (BTreeSet::new(), 0);
    for at in points(POLLS).chain(points(POLLS)) {
        let publish = dropped_at(at, publisher.publish(n.to_string()));
        if let Ok(Some(receipt)) = tokio::time::timeout(WAKE, publish).await {
            receipt?;
            confirmed.insert(n);
        }
        n += 1;
        if let Ok(Some(pending)) = tokio::time::timeout(WAKE, dropped_at(at, publisher.enqueue(n.to_string()))).await {
            // The receipt is not wanted; the message is on its way all the same.
            drop(pending?);
            confirmed.insert(n);
        }
        n += 1;
    }
    lab.within("the flush", publisher.flush()).await?;
    // Room was given back by everything that was dropped.
    for receipt in
        lab.within("receipts", publisher.publish_all((n..n + 20).map(|n| Message::new(n.to_string())))).await?
    {
        receipt?;
    }
    confirmed.extend(n..n + 20);
    let mut seen = Vec::new();
    while !confirmed.iter().all(|n| seen.contains(n)) {
        let delivery = lab.next(&mut consumer, "what has a receipt").await?;
        seen.push(number(&delivery)?);
        delivery.ack()?;
    }
    while let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_millis(200), consumer.next()).await {
        seen.push(number(&delivery?)?);
    }
    let different: BTreeSet<_> = seen.iter().collect();
    ensure!(different.len() == seen.len(), "a dropped publish was sent twice: {seen:?}");
    Ok(())
}

/// Dropped before it is polled it comes again; dropped later it is settled; never is it stuck.
async fn ack_confirmed(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let count = points(POLLS).count();
    lab.publish(&process, 0..count + 1).await?;
    let mut held = lab.take(&mut consumer, count + 1).await?;
    let unpolled = held.remove(0);
    let expected = number(&unpolled)?;
    drop(unpolled.ack_confirmed());
    for (delivery, at) in held.into_iter().zip(points(POLLS)) {
        if let Ok(Some(outcome)) = tokio::time::timeout(WAKE, dropped_at(at, delivery.ack_confirmed())).await {
            outcome?;
        }
    }
    let again = lab.take_acked(&mut consumer, 1).await?;
    ensure!(again == [expected], "{expected} was dropped unsettled, {again:?} came");
    lab.quiet(&mut consumer, Duration::from_millis(200), "every other ack was begun").await?;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// A dropped commit is no less a commit than one that never was: the next one finds everything.
async fn commit(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut consumer = lab.join(&first).await?;
    let count = points(POLLS).count() * 3;
    lab.publish(&second, 0..count).await?;
    let mut held = lab.take(&mut consumer, count).await?;
    for at in points(POLLS) {
        for delivery in held.drain(..3) {
            delivery.ack()?;
        }
        if let Ok(Some(outcome)) = tokio::time::timeout(WAKE, dropped_at(at, consumer.commit())).await {
            outcome?;
        }
    }
    lab.within("the commit", consumer.commit()).await??;
    first.crash();
    drop(consumer);
    let mut other = lab.join(&second).await?;
    lab.quiet(&mut other, lab.lease() * 2, "everything was committed").await?;
    lab.until_done(&second, GROUP).await.map(drop)
}

/// Whoever half joined or half left holds nothing back: what was not acked is with another member.
async fn close(lab: Lab) -> Checked {
    let process = lab.process().await?;
    drop(lab.join(&process).await?);
    lab.publish(&process, 0..60).await?;
    let mut acked = BTreeSet::new();
    for at in points(4) {
        // Dropped half way or joined: then it leaves, as anything that is dropped.
        drop(tokio::time::timeout(WAKE, dropped_at(at, lab.member(&process, GROUP).start())).await);
        let mut consumer = lab.member(&process, GROUP).prefetch(10).drain(Duration::from_secs(1)).start().await?;
        let mut held = lab.take(&mut consumer, 4).await?;
        for delivery in held.drain(..2) {
            let number = number(&delivery)?;
            ensure!(acked.insert(number), "{number} came again after its ack was confirmed");
            lab.within("the ack", delivery.ack_confirmed()).await??;
        }
        drop(held);
        let close = consumer.close(Duration::from_secs(1));
        if let Ok(Some(report)) = tokio::time::timeout(WAKE, dropped_at(at, close)).await {
            report?;
        }
    }
    let mut last = lab.join(&process).await?;
    while acked.len() < 60 {
        let delivery = lab.next(&mut last, &format!("the rest; {} of 60 so far", acked.len())).await?;
        let number = number(&delivery)?;
        ensure!(acked.insert(number), "{number} came again after its ack was confirmed");
        lab.within("the ack", delivery.ack_confirmed()).await??;
    }
    lab.until_done(&process, GROUP).await.map(drop)
}

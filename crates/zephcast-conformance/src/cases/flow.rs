//! S1, S2: bounds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use zephcast_core::{Delivery, ErrorKind, Message, PublishError, Verdict};

use crate::Process;
use crate::case::{Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, number, sorted};

pub(super) const CASES: &[Case] = &[
    case!("S1", "in flight is bounded by count, whatever the backlog", by_count),
    case!("S1", "in flight is bounded by count when something comes back beside what is new", returned, SharedUnits),
    case!("S1", "in flight is bounded by count when a retry is due beside what is new", retried, SharedUnits),
    case!("S1", "in flight is bounded by bytes", by_bytes),
    case!("S2", "a publisher waits while its window is full", waits),
    case!("S2", "a publisher that waited too long says so", times_out),
];

const BACKLOG: usize = 10_000;
const PREFETCH: usize = 10;
const LEASE: Duration = Duration::from_secs(20);

/// Ten thousand wait; with a prefetch of ten, never are more than ten out, neither here nor as the broker counts.
async fn by_count(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let group = || lab.member(&process, GROUP).lease(LEASE).prefetch(PREFETCH);
    drop(group().start().await?);
    lab.publish(&process, 0..BACKLOG).await?;
    let mut consumer = group().start().await?;
    let mut held = lab.take(&mut consumer, PREFETCH).await?;
    lab.quiet(&mut consumer, Duration::from_millis(250), "ten are out and unsettled").await?;
    let (mut seen, mut looks) = (vec![false; BACKLOG], 0);
    let mut count = 0;
    loop {
        ensure!(held.len() <= PREFETCH, "{} deliveries are out", held.len());
        if count % 1_000 < PREFETCH {
            let in_flight = process.group_status(lab.stream().as_str(), GROUP).await?.in_flight;
            ensure!(in_flight.is_some_and(|n| n <= PREFETCH as u64), "the broker counts {in_flight:?} in flight");
            looks += 1;
        }
        for delivery in held.drain(..) {
            let number = number(&delivery)?;
            ensure!(!std::mem::replace(&mut seen[number], true), "{number} came twice");
            delivery.ack()?;
            count += 1;
        }
        if count == BACKLOG {
            break;
        }
        held.push(lab.next(&mut consumer, &format!("the rest; {count} of {BACKLOG} so far")).await?);
        // Whatever else is there at once, to find out how much is.
        while let Ok(next) = tokio::time::timeout(Duration::ZERO, consumer.next()).await {
            held.extend(next.transpose()?);
        }
    }
    ensure!(looks >= 10, "the broker was asked {looks} times only");
    lab.within("the commit", consumer.commit()).await??;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// A member with room for one waits for what is new; then something is given back, and something new comes.
async fn returned(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let group = |prefetch| lab.member(&process, GROUP).lease(LEASE).prefetch(prefetch);
    let mut leaving = group(2).start().await?;
    lab.publish(&process, 0..2).await?;
    let held = lab.take(&mut leaving, 2).await?;
    let mut slow = group(1).start().await?;
    lab.publish(&process, 2..3).await?;
    lab.take_acked(&mut slow, 1).await?;
    drop(held);
    lab.within("closing", leaving.close(Duration::from_secs(5))).await??;
    let first = lab.next(&mut slow, "one that was given back").await?;
    lab.publish(&process, 3..4).await?;
    leaves_the_rest(&lab, &process, first, vec![0, 1, 3]).await
}

/// A retry is due and something new is there when a member with room for one joins.
async fn retried(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let group = || lab.member(&process, GROUP).lease(LEASE).prefetch(1);
    let mut full = group().start().await?;
    lab.publish(&process, 0..1).await?;
    let again = lab.next(&mut full, "what fails").await?;
    let later = Verdict::NackAfter(Duration::from_millis(100));
    lab.within("the schedule", again.settle_confirmed(later)).await??;
    lab.publish(&process, 1..2).await?;
    // On a slow machine it is the retry.
    let held = lab.next(&mut full, "what fills it").await?;
    let rest = if number(&held)? == 1 { vec![0, 2] } else { vec![1, 2] };
    lab.until_status(&process, GROUP, "nothing delayed", |status| status.delayed == Some(0)).await?;
    lab.publish(&process, 2..3).await?;
    let mut slow = group().start().await?;
    let first = lab.next(&mut slow, "the retry, or what is new").await?;
    leaves_the_rest(&lab, &process, first, rest).await
}

/// While this one of them is held by a member without more room, another member gets the others.
async fn leaves_the_rest(lab: &Lab, process: &Process, held: Delivery, mut all: Vec<usize>) -> Checked {
    all.retain({
        let held = number(&held)?;
        move |number| *number != held
    });
    let mut heir = lab.member(process, GROUP).lease(LEASE).start().await?;
    let rest = sorted(lab.take_acked(&mut heir, all.len()).await?);
    ensure!(rest == all, "{all:?} are the rest, not {rest:?}");
    held.ack().map_err(Into::into)
}

/// Messages of 10 kB and room for 100 kB: once sizes are known, no more than that is out, and one batch at first.
async fn by_bytes(lab: Lab) -> Checked {
    const SIZE: usize = 10_000;
    const ROOM: usize = 100_000;
    let process = lab.process().await?;
    let group = || lab.member(&process, GROUP).lease(LEASE).prefetch_bytes(ROOM);
    drop(group().start().await?);
    let publisher = lab.publisher(&process).await?;
    let payload = Bytes::from(vec![b'x'; SIZE]);
    let messages = (0..1_000).map(|_| Message::new(payload.clone()).with_key("key"));
    for receipt in lab.within("receipts", publisher.publish_all(messages)).await? {
        receipt?;
    }
    let mut consumer = group().start().await?;
    let mut settled = 0;
    let mut most_later = 0;
    // Rounds of taking everything that comes without settling, and then settling all of it.
    while settled < 1_000 {
        let mut held: Vec<Delivery> = vec![lab.next(&mut consumer, &format!("the rest; {settled} so far")).await?];
        while let Ok(next) = tokio::time::timeout(Duration::from_millis(20), consumer.next()).await {
            held.extend(next.transpose()?);
        }
        ensure!(held.len() < 1_000, "the whole backlog is out at once");
        if settled > 0 {
            most_later = most_later.max(held.len() * SIZE);
        }
        settled += held.len();
        for delivery in held {
            delivery.ack()?;
        }
    }
    // One batch may exceed the room, once; beyond twice the room there is no bound.
    ensure!(most_later <= 2 * ROOM, "{most_later} bytes were out with room for {ROOM}");
    Ok(())
}

/// With the broker not answering, as many as there is room for go in; the next waits, and goes on when there is room.
async fn waits(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    for by_bytes in [false, true] {
        let builder = process.publisher(lab.stream().as_str());
        let builder = if by_bytes { builder.in_flight_bytes(8 * 1_000) } else { builder.in_flight(8) };
        let publisher = lab.within("a publisher", builder.into_future()).await??;
        process.seam().hold_publishes(true);
        let message = |n: usize| Message::new(format!("{n:01000}"));
        let mut pending = Vec::new();
        for n in 0..8 {
            pending.push(lab.within("room", publisher.enqueue(message(n))).await??);
        }
        let ninth = publisher.enqueue(message(8));
        tokio::pin!(ninth);
        let early = tokio::time::timeout(Duration::from_millis(200), &mut ninth).await;
        ensure!(early.is_err(), "a ninth message went into a window of eight");
        process.seam().hold_publishes(false);
        pending.push(lab.within("room for the ninth", ninth).await??);
        for receipt in pending {
            lab.within("a receipt", receipt).await??;
        }
        lab.take(&mut consumer, 9).await?.into_iter().try_for_each(Delivery::ack)?;
    }
    Ok(())
}

/// Both kinds of waiting end at the timeout with a typed error: for room, certainly not stored; for the answer, unknown.
async fn times_out(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let timeout = Duration::from_millis(400);
    let builder = process.publisher(lab.stream().as_str()).in_flight(1).timeout(timeout);
    let publisher = lab.within("a publisher", builder.into_future()).await??;
    process.seam().hold_publishes(true);
    let began = Instant::now();
    let (first, second) = tokio::join!(publisher.publish("0"), publisher.publish("1"));
    let took = began.elapsed();
    ensure!(took < timeout * 3 + Duration::from_secs(1), "a timeout of {timeout:?} took {took:?}");
    for (outcome, what) in [(&first, "the first"), (&second, "the second")] {
        let kind = outcome.as_ref().err().map(PublishError::kind);
        ensure!(matches!(kind, Some(ErrorKind::Timeout | ErrorKind::Blocked)), "{what} is {outcome:?}");
    }
    process.seam().hold_publishes(false);
    let receipt = async {
        while let Err(error) = publisher.publish("2").await {
            ensure!(error.error().is_retryable(), "after the hold: {error:?}");
        }
        Checked::Ok(())
    };
    lab.within("a receipt once the broker answers", receipt).await??;
    // What was certainly not stored never comes.
    let certain = |outcome: &Result<_, PublishError>| outcome.as_ref().is_err_and(|error| !error.is_unknown());
    let failed = |number| match number {
        0 => certain(&first),
        1 => certain(&second),
        _ => false,
    };
    loop {
        let delivery = lab.next(&mut consumer, "what has a receipt").await?;
        let number = number(&delivery)?;
        delivery.ack()?;
        ensure!(!failed(number), "{number} certainly failed, and came");
        if number == 2 {
            return Ok(());
        }
    }
}

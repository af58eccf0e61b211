//! R1, R2, R3: outages, permanent errors, and nothing that goes quiet.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use zephcast_core::{Error, ErrorKind, Event, PublishError, Publisher};

use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, number};

pub(super) const CASES: &[Case] = &[
    case!("R1", "an outage longer than the lease ends by itself", long_outage),
    case!("R1", "a cut connection is restored, and everything on it", cut, Line),
    case!("R1", "a settlement made during an outage is written after it", settled_meanwhile),
    case!("R2", "a permanent error is handed out once and ends the consumer", permanent),
    case!("R2", "wrong credentials fail at once as such", credentials, WrongCredentials),
    case!("R2", "what cannot be used is refused before anything is sent", unusable),
    case!("R3", "an outage is told: events, status and publishes", told),
    case!("R3", "a member whose window is full is told of an outage and of its end", told_when_full, Line),
];

/// Away for two leases: the same consumer and the same publisher go on, and everything with a receipt comes.
async fn long_outage(lab: Lab) -> Checked {
    let (process, other) = (lab.process().await?, lab.process().await?);
    let mut consumer = lab.join(&process).await?;
    let publisher = lab.publisher(&process).await?;
    lab.within("a receipt", publisher.publish("0")).await??;
    lab.take_acked(&mut consumer, 1).await?;
    process.seam().away();
    lab.publish(&other, 1..10).await?;
    // Time is the subject: the lease must end while the broker is away.
    tokio::time::sleep(lab.lease() * 2).await;
    process.seam().back();
    let receipt = publish_until_stored(&publisher, "10");
    lab.within("a receipt from the same publisher", receipt).await?;
    let mut missing: BTreeSet<_> = (1..=10).collect();
    // The lease ended meanwhile: what was fetched just before may come again, and the first ack of it is refused.
    let work = async {
        while process.group_status(lab.stream().as_str(), GROUP).await?.lag != Some(0) {
            if let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_millis(50), consumer.next()).await {
                let delivery = delivery?;
                missing.remove(&number(&delivery)?);
                let refused = delivery.ack().err().filter(|error| error.kind() != ErrorKind::LeaseLost);
                ensure!(refused.is_none(), "an ack after the outage is {refused:?}");
            }
        }
        Checked::Ok(())
    };
    lab.within("everything to be settled", work).await??;
    ensure!(missing.is_empty(), "settled, and yet {missing:?} never came");
    Ok(())
}

/// A slow handler has all that the member may hold, so that nothing is fetched: the outage is told all the same.
async fn told_when_full(lab: Lab) -> Checked {
    let ((process, line), other) = (lab.process_over_line().await?, lab.process().await?);
    let mut consumer = lab.within("joining", lab.member(&process, GROUP).prefetch(4).start()).await??;
    let mut events = consumer.events();
    lab.publish(&other, 0..20).await?;
    let held = lab.take(&mut consumer, 4).await?;
    lab.quiet(&mut consumer, lab.lease(), "the window is full").await?;
    line.cut().await;
    let is_away = |event| matches!(event, Event::Disconnected(_)).then_some(());
    lab.event(&mut events, "disconnected", is_away).await?;
    line.mend().await;
    let is_back = |event| matches!(event, Event::Reconnected(_)).then_some(());
    lab.event(&mut events, "reconnected", is_back).await?;
    drop(held);
    Ok(())
}

/// The line is cut five times under load; nothing is lost, and only what was unsettled may come twice.
async fn cut(lab: Lab) -> Checked {
    let (process, line) = lab.process_over_line().await?;
    let mut consumer = lab.join(&process).await?;
    let publisher = lab.publisher(&process).await?;
    let mut events = consumer.events();
    let mut acked = BTreeSet::new();
    for round in 0..5 {
        let numbers = round * 20..(round + 1) * 20;
        for number in numbers.clone() {
            lab.within("a receipt", publish_until_stored(&publisher, &number.to_string())).await?;
        }
        for _ in 0..10 {
            let delivery = lab.next(&mut consumer, "a message").await?;
            let number = number(&delivery)?;
            ensure!(acked.insert(number), "{number} came again after its ack was confirmed");
            lab.within("the ack", delivery.ack_confirmed()).await??;
        }
        line.cut().await;
        let is_away = |event| matches!(event, Event::Disconnected(_)).then_some(());
        lab.event(&mut events, "disconnected", is_away).await?;
        line.mend().await;
        let is_back = |event| matches!(event, Event::Reconnected(_)).then_some(());
        lab.event(&mut events, "reconnected", is_back).await?;
    }
    let rest: BTreeSet<_> = (0..100).filter(|number| !acked.contains(number)).collect();
    let mut seen = BTreeSet::new();
    while !rest.is_subset(&seen) {
        let delivery = lab.next(&mut consumer, &format!("the rest; {} of {} so far", seen.len(), rest.len())).await?;
        let number = number(&delivery)?;
        ensure!(!acked.contains(&number), "{number} came again after its ack was confirmed");
        seen.insert(number);
        delivery.ack()?;
    }
    lab.within("the commit", consumer.commit()).await??;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// Acked while the broker is away, for less than the lease: commit waits, and is durable once it returns.
async fn settled_meanwhile(lab: Lab) -> Checked {
    let (process, other) = (lab.process().await?, lab.process().await?);
    let lease = Duration::from_secs(20);
    let mut consumer = lab.member(&process, GROUP).lease(lease).start().await?;
    let mut events = consumer.events();
    lab.publish(&other, 0..5).await?;
    let held = lab.take(&mut consumer, 5).await?;
    process.seam().away();
    for delivery in held {
        delivery.ack()?;
    }
    let is_failed = |event| matches!(event, Event::SettleFailed(_)).then_some(());
    lab.event(&mut events, "settling failed", is_failed).await?;
    let early = tokio::time::timeout(Duration::from_millis(100), consumer.commit()).await;
    ensure!(early.is_err(), "a commit without a broker is {early:?}");
    process.seam().back();
    lab.within("the commit", consumer.commit()).await??;
    process.crash();
    drop(consumer);
    lab.until_done(&other, GROUP).await.map(drop)
}

/// Once the error, then the end; the client itself lives on.
async fn permanent(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    process.seam().fail_fetch(Error::new(ErrorKind::PermissionDenied, "fetch", "not allowed, on purpose"));
    lab.publish(&process, 0..1).await?;
    let mut seen = 0;
    let error = loop {
        match lab.within("the error", consumer.next()).await? {
            Some(Ok(delivery)) => {
                seen += 1;
                ensure!(seen <= 1, "deliveries instead of an error");
                delivery.ack()?;
            }
            Some(Err(error)) => break error,
            None => return Err(Broken::new("the consumer ended without its reason")),
        }
        lab.publish(&process, 1..2).await?;
    };
    ensure!(error.kind() == ErrorKind::PermissionDenied, "the reason is {error:?}");
    let next = lab.within("the end", consumer.next()).await?;
    ensure!(next.is_none(), "after the reason comes {next:?}");
    lab.within("closing", consumer.close(Duration::from_secs(2))).await??;
    let mut another = lab.join(&process).await?;
    lab.publish(&process, 2..3).await?;
    lab.next(&mut another, "a message for a new consumer").await.map(drop)
}

/// No retrying, no secret in what is said (see V4).
async fn credentials(lab: Lab) -> Checked {
    let began = Instant::now();
    let error = lab.within("the refusal", lab.harness().connect_with_secret("wrong-on-purpose")).await?;
    let took = began.elapsed();
    let Some(error) = error else { return Err(Broken::new("let in with a wrong secret")) };
    ensure!(error.kind() == ErrorKind::Auth, "refused credentials are {error:?}");
    ensure!(took < Duration::from_secs(3), "told after {took:?}: it was tried again");
    Ok(())
}

/// Names, windows, leases: `InvalidInput`, naming what is wrong.
async fn unusable(lab: Lab) -> Checked {
    let process = lab.process().await?;
    // Nothing may reach the broker: with it away, only what is looked at before is answered as invalid.
    process.seam().away();
    let stream = lab.stream().as_str();
    let good = || process.consumer(stream).group(GROUP);
    let long = "x".repeat(300);
    let mut refused = Vec::new();
    for bad in ["", "a b", "a\nb", "a\0b", "../x", &long] {
        refused.push((format!("stream {bad:?}"), process.consumer(bad).group(GROUP).start().await.err()));
        refused.push((format!("group {bad:?}"), process.consumer(stream).group(bad).start().await.err()));
        refused.push((format!("member {bad:?}"), good().member(bad).start().await.err()));
        refused.push((format!("publisher {bad:?}"), process.publisher(bad).await.err()));
    }
    refused.push(("no group".into(), process.consumer(stream).start().await.err()));
    refused.push(("a prefetch of 0".into(), good().prefetch(0).start().await.err()));
    refused.push(("prefetch bytes of 0".into(), good().prefetch_bytes(0).start().await.err()));
    refused.push(("a lease of 1 ms".into(), good().lease(Duration::from_millis(1)).start().await.err()));
    for (what, error) in refused {
        let kind = error.as_ref().map(Error::kind);
        ensure!(kind == Some(ErrorKind::InvalidInput), "{what}: {error:?}, not InvalidInput");
    }
    Ok(())
}

/// While it lasts and when it ends.
async fn told(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let mut events = consumer.events();
    let builder = process.publisher(lab.stream().as_str()).timeout(Duration::from_millis(500));
    let publisher = lab.within("a publisher", builder.into_future()).await??;
    process.seam().away();
    let reason = |event| if let Event::Disconnected(error) = event { Some(error) } else { None };
    let error = lab.event(&mut events, "disconnected", reason).await?;
    ensure!(error.is_retryable(), "an outage is {error:?}");
    let status = lab.within("an answer", process.group_status(lab.stream().as_str(), GROUP)).await?;
    ensure!(status.as_ref().is_err_and(Error::is_retryable), "status during an outage: {status:?}");
    let outcome = lab.within("an answer", publisher.publish("0")).await?;
    ensure!(outcome.as_ref().is_err_and(|error| error.error().is_retryable()), "publishing in an outage: {outcome:?}");
    process.seam().back();
    lab.publish(&process, 1..2).await?;
    let is_back = |event| if let Event::Reconnected(after) = event { Some(after) } else { None };
    lab.event(&mut events, "reconnected", is_back).await?;
    lab.next(&mut consumer, "a message after the outage").await.map(drop)
}

/// Publishes until there is a receipt; ids differ, as the tests tell messages apart by their payload.
async fn publish_until_stored(publisher: &Publisher, payload: &str) {
    while let Err(PublishError::Failed(_) | PublishError::Unknown(_)) = publisher.publish(payload.to_owned()).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

//! S3, S4: leaving within the deadline, and dropping anything at any time.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use zephcast_core::{Delivery, ErrorKind};

use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, number, numbers, sorted};

pub(super) const CASES: &[Case] = &[
    case!("S3", "close gives back what was not started, at once and complete", gives_back),
    case!("S3", "close ends at its deadline with a stuck handler, and says so", stuck),
    case!("S3", "close waits for a delivery that is settled in time", waits),
    case!("S3", "no handler starts once a group was told to stop", stops_intake),
    case!("S3", "close ends at its deadline while the broker is away", away),
    case!("S4", "settling after the end is an error and no more", after_the_end),
    case!("S4", "dropping everything, and the runtime, blocks nobody and loses nothing", drop_all),
    case!("S4", "dropping the runtime while the broker is silent blocks nobody and loses nothing", drop_silent),
];

/// So many handlers finish before those that wait for the stop.
const FREELY: usize = 40;

/// Of a hundred prefetched one is acked; the other ninety-nine are with another member long before a lease of a minute
/// ends.
async fn gives_back(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let lease = Duration::from_secs(60);
    let mut leaving = lab.member(&process, GROUP).lease(lease).start().await?;
    lab.publish(&process, 0..100).await?;
    let acked = lab.take_acked(&mut leaving, 1).await?;
    lab.until_status(&process, GROUP, "99 in flight", |status| status.in_flight == Some(99)).await?;
    let report = lab.within("closing", leaving.close(Duration::from_secs(5))).await??;
    ensure!(report.clean && report.unfinished == 0, "nothing was unfinished, and yet {report:?}");
    ensure!(report.returned == 99 && report.acked == 1, "1 acked and 99 returned, not {report:?}");
    let mut heir = lab.member(&process, GROUP).lease(lease).start().await?;
    let taken = lab.take(&mut heir, 99).await?;
    ensure!(taken.iter().all(|delivery| delivery.attempt() == 1), "what was not started counts as an attempt");
    let all = sorted([acked, numbers(&taken)?].concat());
    ensure!(all == (0..100).collect::<Vec<_>>(), "not each of 100 came once: {all:?}");
    for delivery in taken {
        delivery.ack()?;
    }
    lab.within("closing", heir.close(Duration::from_secs(5))).await??;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// One delivery is never settled: close returns in time, counts it, and another member gets it.
async fn stuck(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut leaving = lab.join(&process).await?;
    lab.publish(&process, 0..3).await?;
    let mut held = lab.take(&mut leaving, 3).await?;
    let stuck = held.remove(0);
    for delivery in held {
        delivery.ack()?;
    }
    let (deadline, began) = (Duration::from_millis(600), Instant::now());
    let report = lab.within("closing", leaving.close(deadline)).await??;
    let took = began.elapsed();
    ensure!(took < deadline + Duration::from_secs(1), "close took {took:?} with a deadline of {deadline:?}");
    ensure!(report.unfinished == 1 && !report.clean, "one delivery is unfinished, and yet {report:?}");
    ensure!(report.acked == 2, "two were acked, and yet {report:?}");
    let mut heir = lab.join(&process).await?;
    let taken = lab.take_acked(&mut heir, 1).await?;
    ensure!(taken == [number(&stuck)?], "the stuck one comes to another member, not {taken:?}");
    let late = stuck.ack();
    ensure!(late.is_err(), "the stuck handler's ack is accepted after it was given away");
    lab.quiet(&mut heir, Duration::from_millis(200), "the other two were acked").await
}

/// A handler that finishes while the member leaves is waited for, and its ack counts.
async fn waits(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut leaving = lab.join(&process).await?;
    lab.publish(&process, 0..1).await?;
    let delivery = lab.next(&mut leaving, "the message").await?;
    let closing = lab.within("closing", leaving.close(Duration::from_secs(10)));
    let handler = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        delivery.ack()
    };
    let (report, acked) = tokio::join!(closing, handler);
    acked?;
    let report = report??;
    ensure!(report.clean && report.acked == 1 && report.unfinished == 0, "it was acked in time, and yet {report:?}");
    let mut heir = lab.join(&process).await?;
    lab.quiet(&mut heir, Duration::from_millis(300), "its ack was waited for").await
}

/// Handlers at work, and as much again at hand. All of them become ready in the very moment of the stop: what runs is
/// finished, and nothing is started with it or after it, neither what is at hand nor what waits for its key.
async fn stops_intake(lab: Lab) -> Checked {
    let process = lab.process().await?;
    drop(lab.join(&process).await?);
    lab.publish(&process, 0..300).await?;
    let mut settled = 0;
    // All messages have one key, so that with order by key a single handler is at work.
    for (ordered, at_work) in [(false, 8), (true, 1)] {
        let (stop, gate) = (watch::Sender::new(false), watch::Sender::new(false));
        let counts = watch::Sender::new((0_usize, 0_usize, 0_usize));
        let handler = async |_: &Delivery| {
            counts.send_modify(|(started, _, late)| {
                *started += 1;
                *late += usize::from(*stop.borrow());
            });
            if counts.borrow().0 > FREELY {
                // The sender outlives the handler.
                let _ = gate.subscribe().wait_for(|open| *open).await;
            } else {
                tokio::task::yield_now().await;
            }
            counts.send_modify(|(_, finished, _)| *finished += 1);
            Ok::<_, zephcast_core::Error>(())
        };
        let mut stopped = stop.subscribe();
        let shutdown = async {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let full = async {
            let full =
                |(started, finished, _): &(usize, usize, usize)| (*started, *finished) == (FREELY + at_work, FREELY);
            lab.within("all handlers at work", counts.subscribe().wait_for(full)).await?.map(drop)?;
            // Both at once, without letting the group run in between.
            gate.send_replace(true);
            stop.send_replace(true);
            Checked::Ok(())
        };
        let group = process.group(lab.stream().as_str(), GROUP).concurrency(8).lease(lab.lease());
        let group = if ordered { group.ordered_by_key() } else { group };
        let (report, full) = tokio::join!(lab.within("the group", group.run(handler, shutdown)), full);
        full?;
        let report = report??;
        let (started, finished, late) = *counts.borrow();
        ensure!(late == 0, "{late} handlers started with the stop or after it, ordered by key: {ordered}");
        ensure!(started == finished, "{started} started and {finished} finished");
        ensure!(report.clean && report.acked == finished as u64, "{finished} finished, and yet {report:?}");
        settled += finished;
    }
    let mut heir = lab.join(&process).await?;
    lab.take_acked(&mut heir, 300 - settled).await?;
    lab.quiet(&mut heir, Duration::from_millis(200), "the finished ones were settled").await
}

/// Without a broker nothing can be settled; close says so in time.
async fn away(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut leaving = lab.join(&process).await?;
    lab.publish(&process, 0..2).await?;
    let held = lab.take(&mut leaving, 2).await?;
    process.seam().away();
    for delivery in held {
        delivery.ack()?;
    }
    let (deadline, began) = (Duration::from_millis(600), Instant::now());
    let report = lab.within("closing", leaving.close(deadline)).await??;
    let took = began.elapsed();
    ensure!(took < deadline + Duration::from_secs(1), "close took {took:?} with a deadline of {deadline:?}");
    ensure!(!report.clean, "two acks never reached the broker, and yet {report:?}");
    let other = lab.process().await?;
    let mut heir = lab.join(&other).await?;
    let taken = lab.take_acked(&mut heir, 2).await?;
    ensure!(sorted(taken.clone()) == [0, 1], "what could not be settled comes again, not {taken:?}");
    Ok(())
}

/// Each way to settle answers with a typed error; nothing panics.
async fn after_the_end(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut leaving = lab.join(&process).await?;
    lab.publish(&process, 0..5).await?;
    let mut held = lab.take(&mut leaving, 5).await?.into_iter();
    lab.within("closing", leaving.close(Duration::ZERO)).await??;
    let mut next = || held.next().ok_or_else(|| Broken::new("five were taken"));
    let outcomes = [
        next()?.ack(),
        next()?.nack(),
        next()?.fail("late"),
        next()?.reject("late"),
        lab.within("an answer", next()?.ack_confirmed()).await?,
    ];
    for outcome in outcomes {
        let kind = outcome.as_ref().err().map(zephcast_core::Error::kind);
        let typed = matches!(kind, Some(ErrorKind::LeaseLost | ErrorKind::Closed));
        ensure!(typed, "settling after the end is {outcome:?}");
    }
    let mut heir = lab.join(&process).await?;
    lab.take_acked(&mut heir, 5).await.map(drop)
}

/// On one thread: a consumer with deliveries out, a publisher with messages under way, a client, and then the runtime.
async fn drop_all(lab: Lab) -> Checked {
    dropped_runtime(lab, false).await
}

/// The same with calls under way that nobody answers: acks, a renewal, a publish, a fetch.
async fn drop_silent(lab: Lab) -> Checked {
    dropped_runtime(lab, true).await
}

async fn dropped_runtime(lab: Lab, silent: bool) -> Checked {
    let survivor = lab.process().await?;
    drop(lab.join(&survivor).await?);
    lab.publish(&survivor, 0..20).await?;
    let inner = lab.clone();
    let (done, outcome) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Nobody listens any more only if the case has failed already.
        let _ = done.send(drop_on_one_thread(&inner, silent));
    });
    lab.within("the other runtime", outcome).await???;
    let mut heir = lab.join(&survivor).await?;
    let mut seen = Vec::new();
    while !(0..20).all(|number| seen.contains(&number)) {
        let delivery = lab.next(&mut heir, &format!("what was dropped; so far {seen:?}")).await?;
        seen.push(number(&delivery)?);
        delivery.ack()?;
    }
    Ok(())
}

fn drop_on_one_thread(lab: &Lab, silent: bool) -> Checked {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let left = runtime.block_on(async {
        let process = lab.process().await?;
        let mut consumer = lab.join(&process).await?;
        let mut held = lab.take(&mut consumer, 5).await?;
        let publisher = lab.publisher(&process).await?;
        if silent {
            process.seam().freeze();
            held.drain(..2).try_for_each(Delivery::ack)?;
            // Longer than a renewal's third, so that each sort of call waits.
            tokio::time::sleep(lab.lease() / 2).await;
        }
        let pending = publisher.enqueue("20").await?;
        tokio::task::yield_now().await;
        let began = Instant::now();
        let last = held.pop();
        drop((held, pending, publisher, consumer, process));
        let took = began.elapsed();
        ensure!(took < Duration::from_millis(500), "dropping blocked the thread for {took:?}");
        Ok::<_, Broken>(last)
    })?;
    let began = Instant::now();
    drop(runtime);
    drop(left);
    let took = began.elapsed();
    ensure!(took < Duration::from_secs(1), "dropping the runtime took {took:?}");
    Ok(())
}

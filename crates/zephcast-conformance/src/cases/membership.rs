//! M1, M4, M5: members that come, go and are named.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{oneshot, watch};
use zephcast_core::{Delivery, ErrorKind, HandlerError, MemberState};

use crate::History;
use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, Process, number};

pub(super) const CASES: &[Case] = &[
    case!("M1", "a clean rolling restart neither loses nor repeats", rolling_restart),
    case!("M1", "a unit is given up only after its running handlers", drains_unit, AssignedUnits),
    case!("M1", "a member without room gives its units up", gives_up_when_full, AssignedUnits),
    case!("M4", "scaling up and down while running loses nothing", scaling),
    case!("M5", "members have names of their own, and leave no trace behind", names),
    case!("M5", "of two members with one name the last to join has it", namesakes, ExclusiveNames),
    case!("M5", "a dead member stays until nothing is left with it", dead_member),
];

const MESSAGES: usize = 600;

/// One member of a rolling deployment: handles until it is told to stop, then leaves cleanly.
async fn deployment(
    lab: &Lab,
    process: &Process,
    history: &History,
    handled: &watch::Sender<usize>,
    stop: oneshot::Receiver<()>,
) -> Checked {
    let mine = Mutex::new(Vec::new());
    let handler = async |delivery: &Delivery| {
        let number = history.delivered(delivery.member().as_str(), delivery.payload());
        lock(&mine).extend(number.map(|number| (delivery.member().clone(), number)));
        tokio::time::sleep(Duration::from_millis(2)).await;
        handled.send_modify(|count| *count += 1);
        Ok::<_, HandlerError>(())
    };
    let group = process.group(lab.stream().as_str(), GROUP).concurrency(4).prefetch(50).lease(lab.lease());
    let shutdown = async {
        // A deployment that was given up is told to stop too.
        let _ = stop.await;
    };
    let report = group.drain(Duration::from_secs(10)).run(handler, shutdown).await?;
    ensure!(report.clean && report.unfinished == 0, "a clean leave was not: {report:?}");
    // A clean leave has committed whatever was handled.
    lock(&mine).drain(..).for_each(|(member, number)| history.settled(member.as_str(), number));
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Three members under load, each replaced in turn, twice: every message is handled exactly once.
async fn rolling_restart(lab: Lab) -> Checked {
    let processes = [lab.process().await?, lab.process().await?, lab.process().await?];
    drop(lab.join(&processes[0]).await?);
    let (history, handled) = (History::new("rolling"), watch::Sender::new(0));
    let over = watch::Sender::new(false);
    let slots = processes.iter().enumerate().map(|(slot, process)| {
        let (lab, history, handled, over) = (&lab, &history, &handled, &over);
        async move {
            for life in 0..3 {
                let (stop, stopped) = oneshot::channel();
                // Slot by slot, one after the other: each life ends when so much more is done; the last at the end.
                let end = async {
                    let (mut handled, mut over) = (handled.subscribe(), over.subscribe());
                    let part = MESSAGES / 8 * (life * 3 + slot + 1);
                    let end = async {
                        // The senders outlive this.
                        let _ = handled.wait_for(|count| *count >= part).await;
                    };
                    tokio::select! {
                        () = end, if life < 2 => {}
                        _ = over.wait_for(|over| *over) => {}
                    }
                    drop(stop);
                };
                let (left, ()) = tokio::join!(deployment(lab, process, history, handled, stopped), end);
                left?;
            }
            Checked::Ok(())
        }
    });
    let work = async {
        let publisher = lab.publisher(&processes[0]).await?;
        for n in 0..MESSAGES {
            let message = history.message(64).with_key(format!("key-{}", n % 16));
            let outcome = publisher.publish(message.clone()).await;
            history.published(message.payload(), &outcome);
            outcome?;
        }
        let mut handled = handled.subscribe();
        let all = async { handled.wait_for(|count| *count >= MESSAGES).await.map(drop) };
        let all = lab.within("every message", all).await;
        over.send_replace(true);
        all.map_err(|broken| Broken::new(format!("{broken}: {}", history.findings())))??;
        Checked::Ok(())
    };
    let (lives, work) = tokio::join!(join_all(slots), work);
    work?;
    lives.into_iter().collect::<Checked<Vec<()>>>()?;
    history.findings().exactly_once()?;
    lab.until_done(&processes[0], GROUP).await.map(drop)
}

/// The second member gets nothing of a unit while the first still handles one of its messages.
async fn drains_unit(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut owner = lab.join(&first).await?;
    let history = History::new("drain");
    lab.publish_history(&first, &history, 64).await?;
    let held = lab.take(&mut owner, 64).await?;
    let units: BTreeSet<_> = held.iter().map(Delivery::unit).collect();
    ensure!(units.len() > 1, "all of 16 keys are in one unit");
    let mut joiner = lab.join(&second).await?;
    // The revocation waits for the handlers: longer than a lease, for the member lives.
    lab.quiet(&mut joiner, lab.lease() * 2, "every message is being handled").await?;
    ensure!(held.iter().all(|delivery| !delivery.is_lost()), "a unit was taken from running handlers");
    for delivery in held {
        lab.within("the ack", delivery.ack_confirmed()).await??;
    }
    lab.publish_history(&first, &history, 64).await?;
    let mut by_joiner = 0;
    for _ in 0..64 {
        let next = tokio::select! {
            next = lab.next(&mut owner, "what came after the move") => next,
            next = lab.next(&mut joiner, "what came after the move") => { by_joiner += 1; next }
        };
        next?.ack()?;
    }
    ensure!(by_joiner > 0, "the second member never got a unit");
    let why = "everything is settled";
    lab.quiet(&mut joiner, Duration::from_millis(200), why).await?;
    lab.quiet(&mut owner, Duration::from_millis(200), why).await
}

/// What was fetched and taken by nobody holds up no move, although it fills the window.
async fn gives_up_when_full(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut owner = lab.within("joining", lab.member(&first, GROUP).prefetch(16).start()).await??;
    let history = History::new("full");
    lab.publish_history(&first, &history, 64).await?;
    // The window is full when its first message is here, and with one less it is as good as full.
    let taken = lab.next(&mut owner, "the first message").await?;
    confirm(&lab, &history, taken).await?;
    let mut joiner = lab.join(&second).await?;
    let moved = lab.next(&mut joiner, "a message of a unit that was given up").await?;
    confirm(&lab, &history, moved).await?;
    lab.work(&mut [owner, joiner], &history).await?;
    history.findings().exactly_once()
}

/// Handles a message of the history, and waits until its settlement is confirmed.
async fn confirm(lab: &Lab, history: &History, delivery: Delivery) -> Checked {
    let member = delivery.member().clone();
    let number = history.delivered(member.as_str(), delivery.payload());
    lab.within("the ack", delivery.ack_confirmed()).await??;
    number.into_iter().for_each(|number| history.settled(member.as_str(), number));
    Ok(())
}

/// From one member to four and back to one, under load, all leaves clean: each message once.
async fn scaling(lab: Lab) -> Checked {
    let process = lab.process().await?;
    drop(lab.join(&process).await?);
    let (history, handled) = (History::new("scaling"), watch::Sender::new(0_usize));
    let stops: Vec<_> = (0..4).map(|_| oneshot::channel()).collect();
    let (mut stop, stopped): (Vec<_>, Vec<_>) = stops.into_iter().unzip();
    let members = stopped.into_iter().enumerate().map(|(n, stopped)| {
        let (lab, process, history, handled) = (&lab, &process, &history, &handled);
        async move {
            // The senders outlive this.
            let _ = handled.subscribe().wait_for(|count| *count >= n * MESSAGES / 8).await;
            deployment(lab, process, history, handled, stopped).await
        }
    });
    let work = async {
        lab.publish_history(&process, &history, MESSAGES / 2).await?;
        let mut count = handled.subscribe();
        for (n, stop) in stop.drain(1..).enumerate() {
            if n == 0 {
                lab.publish_history(&process, &history, MESSAGES / 2).await?;
            }
            let reached = count.wait_for(|count| *count >= (n + 5) * MESSAGES / 8);
            lab.within("progress while scaling down", reached).await?.map(drop)?;
            drop(stop);
        }
        let all = lab.within("every message", count.wait_for(|count| *count >= MESSAGES)).await.map(drop);
        stop.clear();
        all.map_err(|broken| Broken::new(format!("{broken}: {}", history.findings())))
    };
    let (lives, work) = tokio::join!(join_all(members), work);
    work?;
    lives.into_iter().collect::<Checked<Vec<()>>>()?;
    history.findings().exactly_once()?;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// Unique without being asked, as told when asked, the same over an outage, and gone after a clean leave.
async fn names(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let (mut first, second) = (lab.join(&process).await?, lab.join(&process).await?);
    let named = lab.member(&process, GROUP).member("named").start().await?;
    let name = first.member().clone();
    ensure!(name != *second.member(), "two members are both {name}");
    ensure!(named.member().as_str() == "named", "named, and yet {}", named.member());
    let expected = BTreeSet::from([name.clone(), second.member().clone(), named.member().clone()]);
    let present = |status: &zephcast_core::GroupStatus| {
        let alive = status.members.iter().filter(|member| member.state != MemberState::Dead);
        alive.map(|member| member.name.clone()).collect::<BTreeSet<_>>()
    };
    lab.until_status(&process, GROUP, "all three members by name", |status| present(status) == expected).await?;
    process.seam().away();
    process.seam().back();
    lab.publish(&process, 0..1).await?;
    for consumer in [second, named] {
        lab.within("closing", consumer.close(Duration::from_secs(5))).await??;
    }
    let delivery = lab.next(&mut first, "the message").await?;
    ensure!(*delivery.member() == name && *first.member() == name, "the name changed to {}", delivery.member());
    delivery.ack()?;
    let left = BTreeSet::from([name]);
    lab.until_status(&process, GROUP, "one member", |status| {
        status.members.iter().map(|member| member.name.clone()).collect::<BTreeSet<_>>() == left
    })
    .await
    .map(drop)
}

/// The earlier one is told and can settle nothing any more; the later one gets what it had, so nothing is lost.
async fn namesakes(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut earlier = lab.member(&first, GROUP).member("twin").start().await?;
    lab.publish(&first, 0..10).await?;
    let held = lab.take(&mut earlier, 5).await?;
    let mut later = lab.member(&second, GROUP).member("twin").start().await?;
    let told = lab.within("the end of the earlier one", async {
        loop {
            match earlier.next().await {
                Some(Ok(delivery)) => drop(delivery),
                Some(Err(error)) => return Some(error),
                None => return None,
            }
        }
    });
    let told = told.await?.ok_or_else(|| Broken::new("the earlier one ended without a reason"))?;
    ensure!(told.kind() == ErrorKind::Conflict && told.to_string().contains("name"), "it was told: {told}");
    // Nothing that it still has can be settled, so it waits for nobody.
    lab.within("the earlier one's leaving", earlier.close(Duration::from_secs(600))).await??;
    for delivery in held {
        let settled = lab.within("a settlement too late", delivery.ack_confirmed()).await?;
        ensure!(settled.is_err(), "a member that was replaced settled a message");
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 10 {
        let delivery = lab.next(&mut later, &format!("what the earlier one had; so far {seen:?}")).await?;
        seen.insert(number(&delivery)?);
        delivery.ack()?;
    }
    lab.within("the commit", later.commit()).await??;
    lab.until_done(&second, GROUP).await.map(drop)
}

/// What it held is with another before it is forgotten; then it is not counted among the living.
async fn dead_member(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut dying = lab.join(&first).await?;
    let name = dying.member().clone();
    lab.publish(&second, 0..5).await?;
    let held = lab.take(&mut dying, 5).await?;
    first.crash();
    drop((held, dying));
    let mut consumer = lab.join(&second).await?;
    let mut seen = BTreeSet::new();
    while seen.len() < 5 {
        let delivery = lab.next(&mut consumer, &format!("what the dead one held; so far {seen:?}")).await?;
        seen.insert(number(&delivery)?);
        delivery.ack()?;
    }
    lab.within("the commit", consumer.commit()).await??;
    lab.until_status(&second, GROUP, "the dead member is dead or gone, and holds nothing", |status| {
        let dead = status.members.iter().filter(|member| member.name == name);
        dead.into_iter().all(|member| member.state == MemberState::Dead && member.in_flight.unwrap_or(0) == 0)
    })
    .await
    .map(drop)
}

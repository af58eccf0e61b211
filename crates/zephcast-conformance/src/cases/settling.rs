//! D3, D5, D6: what is settled, what is not, and what came too late.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Barrier;
use zephcast_core::{Delivery, ErrorKind};

use crate::History;
use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, Process, number, numbers, sorted};

pub(super) const CASES: &[Case] = &[
    case!("D3", "what was not settled comes again, and nothing else", unsettled),
    case!("D3", "a message below later acks is not skipped", gap),
    case!("D5", "a settled delivery is never redelivered while its owner lives", settled),
    case!("D5", "64 tasks that settle at once lose no settlement", many_tasks),
    case!("D5", "what was confirmed stays settled under load, while members come and go", confirmed),
    case!("D5", "a settlement whose reply was lost counts once", lost_reply),
    case!("D5", "a cut connection brings nothing again that is held or settled", cut, Line, Leases),
    case!("D6", "a settlement by a member that was stopped too long is refused", stopped, Leases),
    case!("D6", "a settlement by a member whose lease ended unnoticed is refused", unnoticed, Leases),
    case!(
        "D6",
        "what a connection held comes again once it is cut, and its settlements are refused",
        severed,
        Line,
        HeldByConnection
    ),
];

/// Of ten, five are acked in order; the member dies; the other five come, and only they.
async fn unsettled(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut dying = lab.join(&first).await?;
    lab.publish(&second, 0..10).await?;
    let mut held = lab.take(&mut dying, 10).await?;
    let kept = held.split_off(5);
    for delivery in held {
        delivery.ack()?;
    }
    lab.within("the commit", dying.commit()).await??;
    first.crash();
    let expected = sorted(numbers(&kept)?);
    drop((kept, dying));
    let mut consumer = lab.join(&second).await?;
    let taken = lab.take_acked(&mut consumer, 5).await?;
    ensure!(sorted(taken.clone()) == expected, "{expected:?} were not settled, {taken:?} came");
    lab.quiet(&mut consumer, lab.lease() * 2, "everything is settled").await
}

/// Of ten in one unit, the later five are acked; the member dies; each of the first five comes.
async fn gap(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut dying = lab.join(&first).await?;
    lab.publish(&second, 0..10).await?;
    let mut held = lab.take(&mut dying, 10).await?;
    held.sort_by_key(|delivery| number(delivery).unwrap_or_default());
    for delivery in held.split_off(5) {
        delivery.ack()?;
    }
    lab.within("the commit", dying.commit()).await??;
    first.crash();
    drop((held, dying));
    let mut consumer = lab.join(&second).await?;
    let mut seen = Vec::new();
    while !(0..5).all(|number| seen.contains(&number)) {
        let delivery = lab.next(&mut consumer, &format!("the five below the gap; so far {seen:?}")).await?;
        seen.push(number(&delivery)?);
        delivery.ack()?;
    }
    Ok(())
}

/// Neither to its living owner, nor to a member that joins, nor after its owner left.
async fn settled(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut owner = lab.join(&process).await?;
    lab.publish(&process, 0..100).await?;
    lab.take_acked(&mut owner, 100).await?;
    let mut other = lab.join(&process).await?;
    let (long, why) = (lab.lease() * 2, "everything is settled");
    let (a, b) = tokio::join!(lab.quiet(&mut owner, long, why), lab.quiet(&mut other, long, why));
    a.and(b)?;
    lab.within("closing", owner.close(Duration::from_secs(5))).await??;
    lab.within("closing", other.close(Duration::from_secs(5))).await??;
    let mut last = lab.join(&process).await?;
    lab.quiet(&mut last, Duration::from_millis(300), why).await?;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// Ten deliveries each, dealt out so that neighbours are settled by different tasks at the same moment. After the commit
/// the process dies: whatever settlement was lost would come again.
async fn many_tasks(lab: Lab) -> Checked {
    const TASKS: usize = 64;
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut consumer = lab.join(&first).await?;
    lab.publish(&second, 0..TASKS * 10).await?;
    let mut hands: Vec<Vec<Delivery>> = (0..TASKS).map(|_| Vec::new()).collect();
    for (n, delivery) in lab.take(&mut consumer, TASKS * 10).await?.into_iter().enumerate() {
        hands[n % TASKS].push(delivery);
    }
    let together = Arc::new(Barrier::new(TASKS));
    let tasks = hands.into_iter().enumerate().map(|(n, hand)| {
        let together = together.clone();
        tokio::spawn(async move {
            together.wait().await;
            for delivery in hand {
                // Every eighth waits for each of its own.
                if n % 8 == 0 { delivery.ack_confirmed().await } else { delivery.ack() }?;
            }
            Ok::<(), zephcast_core::Error>(())
        })
    });
    for ended in lab.within("all tasks", join_all(tasks)).await? {
        ended??;
    }
    lab.within("the commit", consumer.commit()).await??;
    ensure!(consumer.report().acked == TASKS as u64 * 10, "the report says {:?}", consumer.report());
    first.crash();
    drop(consumer);
    let mut other = lab.join(&second).await?;
    lab.quiet(&mut other, lab.lease() * 2, "everything was committed").await?;
    lab.until_done(&second, GROUP).await.map(drop)
}

/// Two members work and commit; one leaves, another joins; what each saw confirmed comes to nobody again.
async fn confirmed(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut members = [lab.join(&process).await?, lab.join(&process).await?];
    let history = History::new("confirmed");
    for _ in 0..2 {
        lab.publish_history(&process, &history, 150).await?;
        lab.work(&mut members, &history).await?;
    }
    let leaving = std::mem::replace(&mut members[0], lab.join(&process).await?);
    lab.within("closing", leaving.close(Duration::from_secs(5))).await??;
    lab.publish_history(&process, &history, 150).await?;
    lab.work(&mut members, &history).await?;
    history.findings().at_least_once()
}

/// The engine settles again what may not have been settled; that harms nobody and redelivers nothing.
async fn lost_reply(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut owner = lab.join(&first).await?;
    lab.publish(&second, 0..20).await?;
    let held = lab.take(&mut owner, 20).await?;
    first.seam().lose_settle_replies(1);
    for delivery in held {
        delivery.ack()?;
    }
    lab.within("the commit", owner.commit()).await??;
    lab.within("the lost reply", first.seam().settle_replies_lost()).await?;
    first.crash();
    drop(owner);
    let mut consumer = lab.join(&second).await?;
    lab.quiet(&mut consumer, lab.lease() * 2, "everything is settled").await?;
    lab.until_done(&second, GROUP).await.map(drop)
}

/// A short cut: what was acked stays so, what is held is not handed out twice, and can be settled.
async fn cut(lab: Lab) -> Checked {
    let (process, line) = lab.process_over_line().await?;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 0..20).await?;
    let mut held = lab.take(&mut consumer, 20).await?;
    for delivery in held.drain(..10) {
        delivery.ack()?;
    }
    lab.within("the commit", consumer.commit()).await??;
    line.cut().await;
    line.mend().await;
    lab.quiet(&mut consumer, lab.lease(), "what was delivered is held or settled").await?;
    for delivery in held {
        delivery.ack()?;
    }
    lab.within("the commit", consumer.commit()).await??;
    lab.quiet(&mut consumer, lab.lease(), "everything is settled").await?;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// A member stops for longer than its lease, another takes over, and the first goes on as if nothing had happened.
async fn stopped(lab: Lab) -> Checked {
    let (zombie, heir) = (lab.process().await?, lab.process().await?);
    let mut late = lab.join(&zombie).await?;
    lab.publish(&heir, 0..2).await?;
    let held = lab.take(&mut late, 2).await?;
    zombie.seam().freeze();
    let mut owner = lab.join(&heir).await?;
    let owned = lab.take(&mut owner, 2).await?;
    let [acked, confirmed] = pair(held)?;
    // Recorded while it cannot know, or refused because it can tell by its own clock.
    let recorded = acked.ack();
    zombie.seam().thaw();
    let committed = lab.within("the commit", late.commit()).await?;
    refused(recorded.and(committed), "commit after a late ack")?;
    refused(lab.within("an answer", confirmed.ack_confirmed()).await?, "ack_confirmed")?;
    drop(late);
    untouched(&lab, &heir, owner, owned).await
}

/// The broker lets the lease end while the member thinks it lives: only the broker's own fence can tell.
async fn unnoticed(lab: Lab) -> Checked {
    let (zombie, heir) = (lab.process().await?, lab.process().await?);
    let mut late = lab.join(&zombie).await?;
    lab.publish(&heir, 0..2).await?;
    let held = lab.take(&mut late, 2).await?;
    zombie.seam().unheard(true);
    let mut owner = lab.join(&heir).await?;
    let owned = lab.take(&mut owner, 2).await?;
    let [acked, confirmed] = pair(held)?;
    let recorded = acked.ack();
    let committed = lab.within("the commit", late.commit()).await?;
    refused(recorded.and(committed), "commit after a late ack")?;
    refused(lab.within("an answer", confirmed.ack_confirmed()).await?, "ack_confirmed")?;
    zombie.crash();
    drop(late);
    untouched(&lab, &heir, owner, owned).await
}

/// What a member holds goes with its connection: its handlers are told, and what they settle then is refused.
async fn severed(lab: Lab) -> Checked {
    let ((late_process, line), heir) = (lab.process_over_line().await?, lab.process().await?);
    let mut late = lab.join(&late_process).await?;
    lab.publish(&heir, 0..2).await?;
    let held = lab.take(&mut late, 2).await?;
    let mut owner = lab.join(&heir).await?;
    line.cut().await;
    let owned = lab.take(&mut owner, 2).await?;
    for delivery in &held {
        lab.within("the handler to be told", delivery.lost()).await?;
    }
    let [acked, confirmed] = pair(held)?;
    refused(acked.ack(), "a late ack")?;
    refused(lab.within("an answer", confirmed.ack_confirmed()).await?, "ack_confirmed")?;
    line.mend().await;
    drop(late);
    untouched(&lab, &heir, owner, owned).await
}

/// The new owner still has both: when it dies unsettled, they come to a third.
async fn untouched(lab: &Lab, heir: &Process, owner: zephcast_core::Consumer, owned: Vec<Delivery>) -> Checked {
    ensure!(owned.iter().all(|delivery| !delivery.is_lost()), "the new owner lost its delivery to a late settlement");
    heir.crash();
    drop((owned, owner));
    let third = lab.process().await?;
    let mut consumer = lab.join(&third).await?;
    let taken = lab.take_acked(&mut consumer, 2).await?;
    ensure!(sorted(taken.clone()) == [0, 1], "both messages of the new owner, not {taken:?}");
    Ok(())
}

fn pair(held: Vec<Delivery>) -> Checked<[Delivery; 2]> {
    held.try_into().map_err(|_| Broken::new("two were taken"))
}

#[track_caller]
fn refused(outcome: zephcast_core::Result<()>, what: &str) -> Checked {
    match outcome {
        Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(()),
        other => Err(Broken::new(format!("{what} is {other:?}, not LeaseLost"))),
    }
}

//! D2, D9, D10: groups, the takeover from the dead, and where a group starts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zephcast_core::{Start, Verdict};

use crate::History;
use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, number, numbers, sorted};

pub(super) const CASES: &[Case] = &[
    case!("D2", "each message reaches one member of every group", one_member_of_each),
    case!("D2", "another member takes over what a dead one held", takeover),
    case!("D9", "two groups do not see each other", independent),
    case!("D9", "a slow consumer holds up no other one of its client", slow_beside),
    case!("D10", "a new group starts at the earliest message", earliest, KeepsWithoutGroup),
    case!("D10", "a new group starts at the latest message if told so", latest, StartLatest),
    case!("D10", "a new group starts at a position if told so", position, StartPosition),
    case!("D10", "a new group starts at a time if told so", time, StartTime),
    case!("D10", "a group that exists goes on where it is", existing),
];

/// Three members, two groups: each group gets each message once.
async fn one_member_of_each(lab: Lab) -> Checked {
    let processes = [lab.process().await?, lab.process().await?, lab.process().await?];
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for process in &processes {
        first.push(lab.member(process, "first").start().await?);
        second.push(lab.member(process, "second").start().await?);
    }
    let history = History::new("first");
    // The second round brings with it what the first one left on its way.
    for _ in 0..2 {
        lab.publish_history(&processes[0], &history, 150).await?;
        lab.work(&mut first, &history).await?;
    }
    history.findings().exactly_once()?;
    // The other group has a view of its own of the same messages.
    let other = history.same_messages();
    lab.work(&mut second, &other).await?;
    other.findings().exactly_once()
}

/// A member that died with ten messages in its hands loses none of them.
async fn takeover(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut dying = lab.join(&first).await?;
    lab.publish(&second, 0..20).await?;
    let held = numbers(&lab.take(&mut dying, 10).await?)?;
    first.crash();
    drop(dying);
    let mut consumer = lab.join(&second).await?;
    let mut seen = Vec::new();
    while !(0..20).all(|number| seen.contains(&number)) {
        let delivery = lab.next(&mut consumer, &format!("what the dead member held; so far {seen:?}")).await?;
        seen.push(number(&delivery)?);
        delivery.ack()?;
    }
    ensure!(held.iter().all(|number| seen.contains(number)), "held {held:?}, came {seen:?}");
    Ok(())
}

/// What one group acks, rejects or postpones is nothing to the other.
async fn independent(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut one = lab.member(&process, "one").start().await?;
    let mut two = lab.member(&process, "two").start().await?;
    lab.publish(&process, 0..30).await?;
    let acked = lab.take_acked(&mut one, 30).await?;
    ensure!(sorted(acked) == (0..30).collect::<Vec<_>>(), "group one did not get each message once");
    lab.until_done(&process, "one").await?;
    let lag = process.group_status(lab.stream().as_str(), "two").await?.lag;
    ensure!(lag == Some(30), "group two has settled nothing, and its lag is {lag:?}");
    let mut held = lab.take(&mut two, 30).await?.into_iter();
    let (rejected, postponed) = (held.next(), held.next());
    let (Some(rejected), Some(postponed)) = (rejected, postponed) else { return Err(Broken::new("30 were taken")) };
    let again = number(&postponed)?;
    lab.within("the dead letter", rejected.settle_confirmed(Verdict::Reject("no".into()))).await??;
    let later = Verdict::NackAfter(Duration::from_millis(100));
    lab.within("the schedule", postponed.settle_confirmed(later)).await??;
    for delivery in held {
        delivery.ack()?;
    }
    let redelivered = lab.take_acked(&mut two, 1).await?;
    ensure!(redelivered == [again], "{again} was postponed, {redelivered:?} came");
    lab.until_done(&process, "two").await?;
    lab.quiet(&mut one, Duration::from_millis(300), "group two's failures are its own").await
}

/// One holds what it got, and waits at the broker for news only; another asks for one message after the other. If they
/// shared a connection, each of these would wait until the first one's read is over.
async fn slow_beside(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut slow = lab.member(&process, "slow").prefetch(1).lease(Duration::from_secs(60)).start().await?;
    let mut fast = lab.member(&process, "fast").start().await?;
    let publisher = lab.publisher(&process).await?;
    lab.within("a receipt", publisher.publish("0")).await??;
    let held = lab.next(&mut slow, "the slow one's only message").await?;
    let rounds = async {
        for n in 1..=50 {
            lab.take_acked(&mut fast, 1).await?;
            lab.within("a receipt", publisher.publish(n.to_string())).await??;
        }
        lab.take_acked(&mut fast, 1).await
    };
    let done = tokio::select! {
        beyond = slow.next() => return Err(Broken::new(format!("beyond its window the slow one got {beyond:?}"))),
        done = lab.within("fifty round trips beside a slow consumer", rounds) => done??,
    };
    ensure!(done == [50], "the last of them is {done:?}");
    held.ack()?;
    lab.take_acked(&mut slow, 50).await.map(drop)
}

/// What was published before there was a group belongs to it.
async fn earliest(lab: Lab) -> Checked {
    let process = lab.process().await?;
    lab.publish(&process, 0..5).await?;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 5..8).await?;
    let taken = lab.take_acked(&mut consumer, 8).await?;
    ensure!(sorted(taken.clone()) == (0..8).collect::<Vec<_>>(), "0 to 7, not {taken:?}");
    Ok(())
}

/// What was published before the group joined is not its concern; what comes after is, from the first message on.
async fn latest(lab: Lab) -> Checked {
    let process = lab.process().await?;
    lab.publish(&process, 0..5).await?;
    let mut consumer = lab.member(&process, GROUP).start_at(Start::Latest).start().await?;
    lab.publish(&process, 5..8).await?;
    let taken = lab.take_acked(&mut consumer, 3).await?;
    ensure!(sorted(taken.clone()) == [5, 6, 7], "5 to 7, not {taken:?}");
    lab.quiet(&mut consumer, Duration::from_millis(200), "the rest is before the start").await
}

/// The message at the position is the first.
async fn position(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let receipts = lab.publish(&process, 0..8).await?;
    let Some(position) = receipts[5].position else { return Err(Broken::new("the receipt has no position")) };
    let mut consumer = lab.member(&process, GROUP).start_at(Start::Position(position)).start().await?;
    let taken = lab.take_acked(&mut consumer, 3).await?;
    ensure!(sorted(taken.clone()) == [5, 6, 7], "5 to 7, not {taken:?}");
    lab.quiet(&mut consumer, Duration::from_millis(200), "the rest is before the start").await
}

/// The first message at or after the time is the first.
async fn time(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut observer = lab.member(&process, "observer").start().await?;
    lab.publish(&process, 0..5).await?;
    lab.take_acked(&mut observer, 5).await?;
    // Time is the subject: the two halves must differ in their milliseconds by the broker's clock too.
    tokio::time::sleep(Duration::from_millis(50)).await;
    lab.publish(&process, 5..8).await?;
    let sixth = lab.next(&mut observer, "the sixth message").await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let Some(published) = sixth.published_ms() else { return Err(Broken::new("the broker does not say when")) };
    ensure!(u128::from(published).abs_diff(now) < 60_000, "published at {published}, now it is {now}");
    let mut consumer = lab.member(&process, GROUP).start_at(Start::Time(published)).start().await?;
    let taken = lab.take_acked(&mut consumer, 3).await?;
    ensure!(sorted(taken.clone()) == [5, 6, 7], "5 to 7, not {taken:?}");
    lab.quiet(&mut consumer, Duration::from_millis(200), "the rest is before the start").await
}

/// A start is for a new group only: one that was away gets what was published meanwhile.
async fn existing(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 0..5).await?;
    lab.take_acked(&mut consumer, 5).await?;
    lab.within("closing", consumer.close(Duration::from_secs(5))).await??;
    lab.publish(&process, 5..8).await?;
    let start = if process.capabilities().starts.latest { Start::Latest } else { Start::Earliest };
    let mut consumer = lab.member(&process, GROUP).start_at(start).start().await?;
    let taken = lab.take_acked(&mut consumer, 3).await?;
    ensure!(sorted(taken.clone()) == [5, 6, 7], "5 to 7, not {taken:?}");
    lab.quiet(&mut consumer, Duration::from_millis(200), "everything came").await
}

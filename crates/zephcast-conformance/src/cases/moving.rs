//! D10: groups that are moved, and groups that are deleted.

use std::time::Duration;

use zephcast_core::{
    Consumer, Delivery, ErrorKind, GroupName, GroupStatus, MemberState, Position, Start, StreamName, Verdict,
};

use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, Process, number, numbers, sorted};

pub(super) const CASES: &[Case] = &[
    case!("D10", "a group that is moved to the earliest message gets everything again", earliest, Seek),
    case!("D10", "a group that is moved to the latest message skips what was there", latest, Seek, StartLatest),
    case!("D10", "a group that is moved to a position goes on there", position, Seek, StartPosition),
    case!("D10", "a group that is moved to a time goes on there", time, Seek, StartTime),
    case!("D10", "what a group had been given comes once after a move, as on its first way", given_back, Seek),
    case!("D10", "what a dead member held comes once after a move, as on its first way", left_behind, Seek, Leases),
    case!("D10", "what a group had been given is skipped by a move to the latest message", skipped, Seek, StartLatest),
    case!("D10", "a group that is moved keeps what waits and what is dead", copies, Seek, StartLatest),
    case!("D10", "a group with a living member is neither moved nor deleted", lived_in),
    case!("D10", "a group that does not exist is neither moved nor deleted nor created", missing),
    case!("D10", "a deleted group is gone, and one of its name begins anew", deleted, KeepsWithoutGroup),
];

/// Long enough for something that must not come.
const WHILE: Duration = Duration::from_millis(300);

impl Lab {
    /// Moves the usual group once none of its members lives.
    async fn seek(&self, process: &Process, to: Start) -> Checked {
        self.until_status(process, GROUP, "no member lives", lives_not).await?;
        self.within("the move", process.admin().seek_group(self.stream(), &self.group()?, to)).await??;
        Ok(())
    }

    /// These come, each once and as on its first way, and then nothing more.
    async fn comes(&self, process: &Process, expected: std::ops::Range<usize>) -> Checked {
        let mut consumer = self.join(process).await?;
        let mut came = Vec::new();
        while came.len() < expected.len() {
            let delivery = self.next(&mut consumer, &format!("{expected:?}; so far {came:?}")).await?;
            let (attempt, again) = (delivery.attempt(), delivery.redelivered());
            ensure!(attempt == 1 && !again, "{delivery:?} is attempt {attempt}, redelivered: {again}");
            came.push(number(&delivery)?);
            delivery.ack()?;
        }
        ensure!(sorted(came.clone()).into_iter().eq(expected.clone()), "{expected:?}, not {came:?}");
        self.within("the commit", consumer.commit()).await??;
        self.quiet(&mut consumer, WHILE, "everything came").await?;
        close(self, consumer).await
    }
}

async fn close(lab: &Lab, consumer: Consumer) -> Checked {
    lab.within("closing", consumer.close(Duration::from_secs(5))).await??;
    Ok(())
}

fn lives_not(status: &GroupStatus) -> bool {
    status.members.iter().all(|member| member.state == MemberState::Dead)
}

/// Ten messages that the group has settled; returns where they lie.
async fn settled(lab: &Lab, process: &Process) -> Checked<Vec<Position>> {
    let mut consumer = lab.join(process).await?;
    let receipts = lab.publish(process, 0..10).await?;
    lab.take_acked(&mut consumer, 10).await?;
    close(lab, consumer).await?;
    let positions = receipts.iter().map(|receipt| receipt.position);
    positions.collect::<Option<_>>().ok_or_else(|| Broken::new("a receipt has no position"))
}

/// Ten messages that a member got: three are settled, with gaps; the others it has.
async fn half_done(lab: &Lab, process: &Process) -> Checked<(Consumer, Vec<Delivery>)> {
    let mut consumer = lab.join(process).await?;
    lab.publish(process, 0..10).await?;
    let mut held = lab.take(&mut consumer, 10).await?;
    for at in [8, 5, 2] {
        lab.within("the ack", held.remove(at).ack_confirmed()).await??;
    }
    Ok((consumer, held))
}

async fn earliest(lab: Lab) -> Checked {
    let process = lab.process().await?;
    settled(&lab, &process).await?;
    lab.seek(&process, Start::Earliest).await?;
    let lag = process.group_status(lab.stream().as_str(), GROUP).await?.lag;
    ensure!(lag.is_none_or(|lag| lag == 10), "all 10 are to come again, and the lag is {lag:?}");
    lab.comes(&process, 0..10).await?;
    lab.until_done(&process, GROUP).await.map(drop)
}

async fn latest(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let admin = process.admin();
    lab.publish(&process, 0..10).await?;
    admin.create_group(lab.stream(), &lab.group()?, Start::Earliest).await?;
    lab.seek(&process, Start::Latest).await?;
    lab.publish(&process, 10..13).await?;
    lab.comes(&process, 10..13).await
}

async fn position(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let positions = settled(&lab, &process).await?;
    lab.seek(&process, Start::Position(positions[6])).await?;
    lab.comes(&process, 6..10).await
}

async fn time(lab: Lab) -> Checked {
    let process = lab.process().await?;
    settled(&lab, &process).await?;
    // Time is the subject: what comes next must differ in its milliseconds by the broker's clock too.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 10..13).await?;
    let tenth = lab.next(&mut consumer, "the first of the second half").await?;
    let Some(published) = tenth.published_ms() else { return Err(Broken::new("the broker does not say when")) };
    tenth.ack()?;
    lab.take_acked(&mut consumer, 2).await?;
    close(&lab, consumer).await?;
    lab.seek(&process, Start::Time(published)).await?;
    lab.comes(&process, 10..13).await
}

/// A member that left in good order gave back what it had.
async fn given_back(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let (consumer, held) = half_done(&lab, &process).await?;
    lab.within("closing", consumer.close(Duration::from_millis(500))).await??;
    drop(held);
    lab.seek(&process, Start::Earliest).await?;
    lab.comes(&process, 0..10).await?;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// A member that died gave nothing back, and was at all of it, as far as anybody knows.
async fn left_behind(lab: Lab) -> Checked {
    let (dying, process) = (lab.process().await?, lab.process().await?);
    let (consumer, held) = half_done(&lab, &dying).await?;
    dying.crash();
    drop((consumer, held));
    lab.seek(&process, Start::Earliest).await?;
    lab.comes(&process, 0..10).await?;
    lab.until_done(&process, GROUP).await.map(drop)
}

async fn skipped(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let (consumer, held) = half_done(&lab, &process).await?;
    lab.within("closing", consumer.close(Duration::from_millis(500))).await??;
    drop(held);
    lab.seek(&process, Start::Latest).await?;
    lab.until_done(&process, GROUP).await?;
    lab.publish(&process, 10..13).await?;
    lab.comes(&process, 10..13).await
}

/// One message waits for a later attempt, one is dead: both are copies of the group's own.
async fn copies(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 0..3).await?;
    let mut held = lab.take(&mut consumer, 3).await?.into_iter();
    let (Some(rejected), Some(postponed)) = (held.next(), held.next()) else {
        return Err(Broken::new("3 were taken"));
    };
    let waits = number(&postponed)?;
    lab.within("the dead letter", rejected.settle_confirmed(Verdict::Reject("no".into()))).await??;
    let later = Verdict::NackAfter(Duration::from_millis(500));
    lab.within("the schedule", postponed.settle_confirmed(later)).await??;
    drop(held);
    close(&lab, consumer).await?;
    lab.seek(&process, Start::Latest).await?;
    let mut consumer = lab.join(&process).await?;
    let came = lab.take_acked(&mut consumer, 1).await?;
    ensure!(came == [waits], "{waits} waited, {came:?} came");
    lab.quiet(&mut consumer, WHILE, "the rest was skipped").await?;
    let letters = process.admin().dead_letters(lab.stream(), &lab.group()?, None, 10).await?;
    ensure!(letters.len() == 1, "there was one dead letter, now there are {}", letters.len());
    Ok(())
}

/// Refused, and nothing is otherwise than before.
async fn lived_in(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.member(&process, GROUP).member("alive").start().await?;
    lab.publish(&process, 0..10).await?;
    let mut held = lab.take(&mut consumer, 6).await?;
    lab.within("the ack", held.remove(2).ack_confirmed()).await??;
    let (admin, group) = (process.admin(), lab.group()?);
    let mut refusals = vec![("delete", admin.delete_group(lab.stream(), &group).await)];
    if process.capabilities().seek {
        refusals.push(("seek", admin.seek_group(lab.stream(), &group, Start::Earliest).await));
    }
    for (what, refusal) in refusals {
        let Err(error) = refusal else { return Err(Broken::new(format!("{what} of a group with a living member"))) };
        ensure!(error.kind() == ErrorKind::Conflict, "{what}: {error}");
        ensure!(error.to_string().contains("alive"), "{what} does not say who lives: {error}");
    }
    let before = numbers(&held)?;
    for delivery in held {
        lab.within("the ack", delivery.ack_confirmed()).await??;
    }
    let rest = lab.take_acked(&mut consumer, 4).await?;
    ensure!(rest.iter().all(|number| !before.contains(number)), "{before:?} were taken, and then {rest:?}");
    lab.quiet(&mut consumer, WHILE, "everything came").await?;
    lab.until_done(&process, GROUP).await.map(drop)
}

/// A name that nobody has makes nothing.
async fn missing(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let (admin, seeks) = (process.admin(), process.capabilities().seek);
    let nobody = GroupName::new("nobody-at-all")?;
    let nothing = StreamName::new(format!("{}-nothing", lab.stream()))?;
    let consumer = lab.join(&process).await?;
    for (stream, name) in [(lab.stream(), nobody.as_str()), (&nothing, nothing.as_str())] {
        let mut refusals = vec![("delete", admin.delete_group(stream, &nobody).await)];
        if seeks {
            refusals.push(("seek", admin.seek_group(stream, &nobody, Start::Earliest).await));
        }
        for (what, refusal) in refusals {
            let Err(error) = refusal else { return Err(Broken::new(format!("{what} of what does not exist"))) };
            ensure!(error.kind() == ErrorKind::NotFound, "{what}: {error}");
            ensure!(error.to_string().contains(name), "{what} does not name {name:?}: {error}");
        }
    }
    let groups = admin.stream(lab.stream()).await?.groups;
    ensure!(groups == Some(vec![lab.group()?]), "there was one group, and now there are {groups:?}");
    let Err(error) = admin.stream(&nothing).await else { return Err(Broken::new("a stream was created")) };
    ensure!(error.kind() == ErrorKind::NotFound, "{error}");
    close(&lab, consumer).await
}

/// Its place, what waits and what is dead go with it; the stream and other groups stay.
async fn deleted(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let (admin, group, other) = (process.admin(), lab.group()?, GroupName::new("other")?);
    lab.publish(&process, 0..1).await?;
    admin.create_group(lab.stream(), &other, Start::Earliest).await?;
    let mut consumer = lab.join(&process).await?;
    lab.publish(&process, 1..6).await?;
    let mut held = lab.take(&mut consumer, 6).await?;
    let (rejected, postponed) = (held.remove(3), held.remove(1));
    lab.within("the dead letter", rejected.settle_confirmed(Verdict::Reject("no".into()))).await??;
    let later = Verdict::NackAfter(Duration::from_millis(800));
    lab.within("the schedule", postponed.settle_confirmed(later)).await??;
    for delivery in held {
        lab.within("the ack", delivery.ack_confirmed()).await??;
    }
    close(&lab, consumer).await?;
    lab.until_status(&process, GROUP, "no member lives", lives_not).await?;
    lab.within("the end of the group", admin.delete_group(lab.stream(), &group)).await??;

    let groups = admin.stream(lab.stream()).await?.groups;
    ensure!(groups == Some(vec![other.clone()]), "the other group is left, and there are {groups:?}");
    let gone = [
        process.group_status(lab.stream().as_str(), GROUP).await.map(drop),
        admin.dead_letters(lab.stream(), &group, None, 1).await.map(drop),
        admin.delete_group(lab.stream(), &group).await,
    ];
    for gone in gone {
        ensure!(gone.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound), "it is gone, and yet {gone:?}");
    }
    let status = process.group_status(lab.stream().as_str(), other.as_str()).await?;
    ensure!(status.lag == Some(6), "the other group has settled nothing of 6, and its lag is {:?}", status.lag);

    let mut consumer = lab.join(&process).await?;
    let came = lab.take_acked(&mut consumer, 6).await?;
    ensure!(sorted(came.clone()).into_iter().eq(0..6), "everything anew, not {came:?}");
    lab.quiet(&mut consumer, Duration::from_millis(900), "what waited went with the group").await?;
    let status = lab.until_done(&process, GROUP).await?;
    ensure!(status.dead_letters == Some(0), "dead letters of the former group: {:?}", status.dead_letters);

    // What the former one had helpers for, this one has, too.
    lab.publish(&process, 6..8).await?;
    let mut held = lab.take(&mut consumer, 2).await?;
    let (rejected, postponed) = (held.remove(1), held.remove(0));
    lab.within("the dead letter", rejected.settle_confirmed(Verdict::Reject("no".into()))).await??;
    let (again, soon) = (number(&postponed)?, Verdict::NackAfter(Duration::from_millis(100)));
    lab.within("the schedule", postponed.settle_confirmed(soon)).await??;
    let came = lab.take_acked(&mut consumer, 1).await?;
    ensure!(came == [again], "{again} was postponed, {came:?} came");
    let letters = admin.dead_letters(lab.stream(), &group, None, 10).await?;
    ensure!(letters.len() == 1, "one dead letter, not {}", letters.len());
    close(&lab, consumer).await
}

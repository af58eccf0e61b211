//! V1: a stream is looked at without a group, and nothing changes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zephcast_core::driver::{Browsed, Cursor, Stored};
use zephcast_core::{ErrorKind, Message, Position, Start, StreamName};

use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, Process, number};

pub(super) const CASES: &[Case] = &[
    case!("V1", "browsing shows every message in order, byte by byte, and goes on with later ones", whole, Browse),
    case!("V1", "browsing changes nothing for a group, and needs none", untouched, Browse),
    case!("V1", "browsing begins at a position if told so", position, Browse, StartPosition),
    case!("V1", "browsing begins at a time if told so", time, Browse, StartTime),
    case!("V1", "browsing begins at the latest message if told so", latest, Browse, StartLatest),
    case!("V1", "browsing a stream that does not exist is not found, by name", missing, Browse),
];

/// Pages follow each other without a gap, whatever their length, and end where the stream does.
async fn whole(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let receipts = lab.publish(&process, 0..25).await?;
    let (shown, end) = browse(&lab, &process, Cursor::default(), 10).await?;
    ensure!(numbers(&shown)? == (0..25).collect::<Vec<_>>(), "0 to 24 in order, not {:?}", numbers(&shown)?);
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    for (stored, receipt) in shown.iter().zip(&receipts) {
        let Stored { position, message, published_ms } = stored;
        ensure!(Some(*position) == receipt.position, "{position} lies where the receipt says {:?}", receipt.position);
        ensure!(message.id() == Some(&receipt.id), "{position} has the id {:?}, not {}", message.id(), receipt.id);
        ensure!(
            published_ms.is_none_or(|ms| ms.abs_diff(now) < 60_000),
            "{position} was published at {published_ms:?}, and now it is {now}"
        );
    }
    let sent = Message::new(vec![0xff, 0]).with_key(vec![0xfe]).with_header("x", "1").with_header("y", vec![0xfd]);
    let receipt = lab.within("a receipt", lab.publisher(&process).await?.publish(sent.clone())).await??;
    let (later, _) = browse(&lab, &process, end, 10).await?;
    let [stored] = &later[..] else { return Err(Broken::new(format!("one later message, not {}", later.len()))) };
    let sent = sent.with_id(receipt.id);
    ensure!(stored.message == sent, "the message is {:?}, not {sent:?}", stored.message);
    Ok(())
}

/// Neither status nor attempts nor who is there; before a group exists it is not made.
async fn untouched(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    lab.publish(&first, 0..10).await?;
    browse(&lab, &first, Cursor::default(), 100).await?;
    let known = first.admin().stream(lab.stream()).await?;
    let has_none = known.groups.as_ref().is_none_or(Vec::is_empty);
    ensure!(has_none && known.depth.is_none_or(|depth| depth == 10), "browsing left {known:?}");

    let mut consumer = lab.member(&first, GROUP).prefetch(4).start().await?;
    lab.take_acked(&mut consumer, 2).await?;
    let held = lab.take(&mut consumer, 4).await?;
    let figures = async || {
        let status = second.group_status(lab.stream().as_str(), GROUP).await?;
        let members: Vec<_> = status.members.iter().map(|member| (member.name.clone(), member.in_flight)).collect();
        let units: Vec<_> = status.units.iter().map(|unit| (unit.unit, unit.committed.clone(), unit.lag)).collect();
        let counts = [status.lag, status.in_flight, status.delayed, status.dead_letters];
        Checked::Ok((counts, members, units))
    };
    lab.until_status(&second, GROUP, "4 in flight", |status| status.in_flight == Some(4)).await?;
    let before = figures().await?;
    for _ in 0..3 {
        let (shown, _) = browse(&lab, &second, Cursor::default(), 3).await?;
        ensure!(shown.len() == 10, "10 are there, and {} were shown", shown.len());
    }
    let after = figures().await?;
    ensure!(after == before, "browsing changed {before:?} into {after:?}");

    // One comes back after its attempt failed, the others are settled: all as if nobody had looked.
    let mut held = held.into_iter();
    let Some(failing) = held.next() else { return Err(Broken::new("4 were taken")) };
    let again = number(&failing)?;
    failing.fail("to come again")?;
    for delivery in held {
        delivery.ack()?;
    }
    for _ in 0..5 {
        let delivery = lab.next(&mut consumer, "the rest").await?;
        let expected = if number(&delivery)? == again { 2 } else { 1 };
        ensure!(delivery.attempt() == expected, "{} is attempt {}", number(&delivery)?, delivery.attempt());
        delivery.ack()?;
    }
    lab.until_done(&second, GROUP).await?;
    lab.quiet(&mut consumer, Duration::from_millis(200), "everything was settled").await
}

/// The message at the position is the first one.
async fn position(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let receipts = lab.publish(&process, 0..8).await?;
    let Some(position) = receipts[5].position else { return Err(Broken::new("the receipt has no position")) };
    let (shown, _) = browse(&lab, &process, Cursor::Start(Start::Position(position)), 2).await?;
    ensure!(numbers(&shown)? == [5, 6, 7], "5 to 7, not {:?}", numbers(&shown)?);
    Ok(())
}

/// The first message at or after the time is the first one.
async fn time(lab: Lab) -> Checked {
    let process = lab.process().await?;
    lab.publish(&process, 0..5).await?;
    // Time is the subject: the two halves must differ in their milliseconds by the broker's clock too.
    tokio::time::sleep(Duration::from_millis(50)).await;
    lab.publish(&process, 5..8).await?;
    let (all, _) = browse(&lab, &process, Cursor::default(), 100).await?;
    let published = all.get(5).and_then(|stored| stored.published_ms);
    let Some(published) = published else { return Err(Broken::new("the broker does not say when")) };
    let (shown, _) = browse(&lab, &process, Cursor::Start(Start::Time(published)), 2).await?;
    ensure!(numbers(&shown)? == [5, 6, 7], "5 to 7, not {:?}", numbers(&shown)?);
    Ok(())
}

/// Nothing of what was there, everything from then on, also when the stream was empty.
async fn latest(lab: Lab) -> Checked {
    let process = lab.process().await?;
    lab.publish(&process, 0..5).await?;
    let (shown, end) = browse(&lab, &process, Cursor::Start(Start::Latest), 10).await?;
    ensure!(shown.is_empty(), "nothing is later, and yet {:?}", numbers(&shown)?);
    lab.publish(&process, 5..8).await?;
    let (shown, _) = browse(&lab, &process, end, 10).await?;
    ensure!(numbers(&shown)? == [5, 6, 7], "5 to 7, not {:?}", numbers(&shown)?);
    Ok(())
}

/// It is not created either.
async fn missing(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let nowhere = StreamName::new("no-such-stream-anywhere")?;
    let starts = process.capabilities().starts;
    let starts = [(true, Start::Earliest), (starts.latest, Start::Latest), (starts.time, Start::Time(1))];
    for (_, start) in starts.into_iter().filter(|(can, _)| *can) {
        let browsed = process.admin().browse(&nowhere, &Cursor::Start(start), 10).await;
        let said = |error: &zephcast_core::Error| {
            error.kind() == ErrorKind::NotFound && error.to_string().contains(nowhere.as_str())
        };
        ensure!(browsed.as_ref().is_err_and(said), "from {start:?} a missing stream is {browsed:?}");
    }
    let shown = process.admin().stream(&nowhere).await;
    ensure!(shown.is_err(), "looking at it has created it: {shown:?}");
    Ok(())
}

/// Page by page to the end; returns the cursor that stands there.
async fn browse(lab: &Lab, process: &Process, from: Cursor, page: usize) -> Checked<(Vec<Stored>, Cursor)> {
    let (mut shown, mut cursor): (Vec<Stored>, _) = (Vec::new(), from);
    loop {
        let look = process.admin().browse(lab.stream(), &cursor, page);
        let Browsed { messages, next } = lab.within("a look", look).await??;
        ensure!(messages.len() <= page, "asked for at most {page}, {} came", messages.len());
        cursor = next;
        if messages.is_empty() {
            return Ok((shown, cursor));
        }
        shown.extend(messages);
        ensure!(shown.len() <= 1_000, "no end: {:?}", shown.iter().map(|s| s.position).collect::<Vec<Position>>());
    }
}

fn numbers(shown: &[Stored]) -> Checked<Vec<usize>> {
    shown.iter().map(|stored| Ok(stored.message.payload_str()?.parse()?)).collect()
}

//! F5: a message that kills the process.

use std::collections::BTreeSet;
use std::time::Duration;

use zephcast_core::driver::{Credit, Driver, Fetched, Incoming, Membership, Returned, Subscription};
use zephcast_core::{Delivery, MemberName, MemberState, Retry, UnitId};

use crate::case::{Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, number};

pub(super) const CASES: &[Case] = &[
    case!("F5", "a message that kills is a dead letter after its attempts, and nothing beside it ever is", killer),
    case!("F5", "a process that dies before any handler starts blames no message", crash_loop),
    case!("F5", "a suspect that nobody tried is still one after its member left", untried),
];

/// Attempts allowed.
const ATTEMPTS: u32 = 3;
const MESSAGES: usize = 20;
const KILLER: usize = 7;
/// Deliveries that are in hand at a time, unsettled.
const BESIDE: usize = 10;

/// Each process takes up to ten messages at a time and dies on one of them, with the others unsettled.
async fn killer(lab: Lab) -> Checked {
    let witness = lab.process().await?;
    drop(lab.join(&witness).await?);
    lab.publish(&witness, 0..MESSAGES).await?;
    let (mut kills, mut handled) = (0, BTreeSet::new());
    let mut published = MESSAGES;
    // One kill more than there are attempts: the first may be put down to the process.
    while kills <= ATTEMPTS + 1 {
        if live(&lab, &mut handled).await? {
            break;
        }
        kills += 1;
        // Fresh work beside it at each death.
        lab.publish(&witness, published..published + 5).await?;
        published += 5;
    }
    let expected: BTreeSet<usize> = (0..published).filter(|number| *number != KILLER).collect();
    let missing: Vec<_> = expected.difference(&handled).collect();
    ensure!(missing.is_empty(), "never handled: {missing:?}, after {kills} deaths");
    ensure!((ATTEMPTS..=ATTEMPTS + 1).contains(&kills), "it killed {kills} times with {ATTEMPTS} attempts allowed");
    let letters = witness.admin().dead_letters(lab.stream(), &lab.group()?, None, 100).await?;
    let dead: Vec<_> = letters.iter().map(|letter| letter.message.payload_str().unwrap_or("?")).collect();
    ensure!(dead == [KILLER.to_string()], "the killer is {KILLER}, the dead letters are {dead:?}");
    ensure!(letters[0].attempts >= ATTEMPTS, "a dead letter after {} attempts", letters[0].attempts);
    Ok(())
}

/// One life of the process: `true` when it came to the end of its work, `false` when it was killed.
async fn live(lab: &Lab, handled: &mut BTreeSet<usize>) -> Checked<bool> {
    let process = lab.process().await?;
    let retry = Retry::exponential(Duration::from_millis(10)).max_attempts(ATTEMPTS);
    let mut consumer = lab.member(&process, GROUP).retry(retry).start().await?;
    let mut held: Vec<Delivery> = Vec::new();
    let mut idle = 0;
    while idle < 200 {
        match tokio::time::timeout(Duration::from_millis(50), consumer.next()).await {
            Ok(Some(delivery)) => {
                idle = 0;
                let delivery = delivery?;
                if number(&delivery)? == KILLER {
                    process.crash();
                    drop((delivery, held, consumer));
                    return Ok(false);
                }
                held.push(delivery);
            }
            Ok(None) => return Err(crate::Broken::new("the consumer ended")),
            Err(_) => idle += 1,
        }
        // As handlers do that run side by side: they finish when the hands are full, or nothing more comes.
        if held.len() == BESIDE || idle > 0 {
            for delivery in held.drain(..) {
                let number = number(&delivery)?;
                if delivery.ack().is_ok() {
                    handled.insert(number);
                }
            }
        }
        let status = process.group_status(lab.stream().as_str(), GROUP).await?;
        if status.lag == Some(0) && status.dead_letters == Some(1) {
            lab.within("closing", consumer.close(Duration::from_secs(5))).await??;
            return Ok(true);
        }
    }
    Err(crate::Broken::new(format!("no end in sight: {:?}", process.group_status(lab.stream().as_str(), GROUP).await?)))
}

/// Five times a process fetches everything and dies without a handler having started; two attempts are allowed.
async fn crash_loop(lab: Lab) -> Checked {
    let witness = lab.process().await?;
    drop(lab.join(&witness).await?);
    lab.publish(&witness, 0..5).await?;
    let retry = Retry::exponential(Duration::from_millis(10)).max_attempts(2);
    for life in 0..5 {
        let process = lab.process().await?;
        let consumer = lab.member(&process, GROUP).retry(retry).start().await?;
        let fetched = lab.until_status(&witness, GROUP, "something in flight", |status| {
            status.members.iter().any(|member| member.name == *consumer.member() && member.in_flight > Some(0))
        });
        if life == 0 {
            fetched.await?;
        } else {
            // Suspects may be left where they are until somebody asks; then there is nothing to wait for.
            drop(tokio::time::timeout(lab.lease() * 2, fetched).await);
        }
        process.crash();
        drop(consumer);
    }
    let mut consumer = lab.member(&witness, GROUP).retry(retry).start().await?;
    let mut seen = BTreeSet::new();
    // Where a death can make a second copy, that comes too.
    loop {
        let status = witness.group_status(lab.stream().as_str(), GROUP).await?;
        if seen.len() == 5 && status.lag == Some(0) {
            break;
        }
        ensure!(
            status.dead_letters == Some(0),
            "{:?} dead letters of which no handler ever started",
            status.dead_letters
        );
        let next = tokio::time::timeout(Duration::from_secs(1), consumer.next()).await;
        let Ok(Some(delivery)) = next else {
            ensure!(next.is_err(), "the consumer ended");
            continue;
        };
        let delivery = delivery?;
        seen.insert(number(&delivery)?);
        delivery.ack()?;
    }
    lab.until_done(&witness, GROUP).await.map(drop)
}

/// At the seam, since the engine fetches a suspect only when somebody waits for it. What comes back must be handed out
/// alone again, however it comes back: named, or, as after an answer that was lost, not named.
async fn untried(lab: Lab) -> Checked {
    let witness = lab.process().await?;
    let dying = lab.process().await?;
    let mut consumer = lab.join(&dying).await?;
    lab.publish(&witness, 0..1).await?;
    let held = lab.within("a delivery", consumer.next()).await?;
    dying.crash();
    drop((held, consumer));
    lab.until_status(&witness, GROUP, "the end of the lease", |status| {
        status.members.iter().all(|member| member.state == MemberState::Dead)
    })
    .await?;
    let driver = lab.harness().connect().await?;
    let mut attempts = BTreeSet::new();
    for named in [true, false, true] {
        let mut member = seam_member(&lab, &*driver).await?;
        let (unit, suspect) = lab.within("a suspect", suspect(&mut member)).await??;
        attempts.insert(suspect.attempt);
        let returned = Returned { unit, token: suspect.token, attempts: suspect.attempt - 1 };
        let returned = if named { vec![returned] } else { Vec::new() };
        drop(member.intake);
        member.settler.leave(returned, Duration::from_secs(5)).await?;
    }
    ensure!(attempts.len() == 1, "nobody tried it, and its attempts went {attempts:?}");
    Ok(())
}

/// A member without an engine, which lives for as long as the case.
async fn seam_member(lab: &Lab, driver: &dyn Driver) -> Checked<Membership> {
    let mut subscription = Subscription::new(lab.stream().clone(), lab.group()?);
    subscription.member = MemberName::unique();
    Ok(driver.join(subscription).await?)
}

/// Waits for word of suspects and takes the one. Nothing else may come.
async fn suspect(member: &mut Membership) -> Checked<(UnitId, Incoming)> {
    let mut told = false;
    loop {
        let credit = Credit { messages: 10, bytes: 1 << 20, suspect: told };
        match member.intake.fetch(credit).await? {
            Fetched::Suspects => told = true,
            Fetched::Batch(mut batch) => {
                let incoming = batch.messages.remove(0);
                ensure!(incoming.suspect, "it came as an innocent, as attempt {}", incoming.attempt);
                return Ok((batch.unit, incoming));
            }
            _ => {}
        }
    }
}

//! M2, M3: what a member is told, and how long it may take.

use std::time::Duration;

use zephcast_core::{Event, MemberState};

use crate::case::{Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, number};

pub(super) const CASES: &[Case] = &[
    case!("M2", "a member is told first that units are its own", assigned),
    case!("M2", "a member is told which units it gave up", revoked, AssignedUnits),
    case!("M2", "a handler sees that its delivery is no longer its own", cancelled, Leases),
    case!("M3", "a slow handler keeps its lease for as long as it runs", slow),
    case!("M3", "a stuck handler is reported, by name", stuck),
];

/// The first event, with at least one unit.
async fn assigned(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let consumer = lab.join(&process).await?;
    let mut events = consumer.events();
    let first = lab.within("the first event", events.next()).await?;
    ensure!(matches!(&first, Some(Event::Assigned(units)) if !units.is_empty()), "the first event is {first:?}");
    Ok(())
}

/// When a second member joins, what the first reports as revoked is what the second reports as assigned.
async fn revoked(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let first = lab.join(&process).await?;
    let mut events = first.events();
    let is_assigned = |event| if let Event::Assigned(units) = event { Some(units) } else { None };
    let all = lab.event(&mut events, "assigned", is_assigned).await?;
    let second = lab.join(&process).await?;
    let is_revoked = |event| if let Event::Revoked(units) = event { Some(units) } else { None };
    let revoked = lab.event(&mut events, "revoked", is_revoked).await?;
    ensure!(
        !revoked.is_empty() && revoked.iter().all(|unit| all.contains(unit)),
        "of {all:?}, {revoked:?} was revoked"
    );
    let assigned = lab.event(&mut second.events(), "assigned", is_assigned).await?;
    ensure!(assigned.iter().all(|unit| revoked.contains(unit)), "{revoked:?} were given up, {assigned:?} were got");
    Ok(())
}

/// A member stops for too long: once it goes on, the handler's delivery resolves as lost, and an event says so.
async fn cancelled(lab: Lab) -> Checked {
    let (zombie, heir) = (lab.process().await?, lab.process().await?);
    let mut late = lab.join(&zombie).await?;
    let mut events = late.events();
    lab.publish(&heir, 0..1).await?;
    let delivery = lab.next(&mut late, "the message").await?;
    ensure!(!delivery.is_lost(), "lost right after it came");
    zombie.seam().freeze();
    let mut owner = lab.join(&heir).await?;
    let owned = lab.next(&mut owner, "the takeover").await?;
    zombie.seam().thaw();
    lab.within("the handler to be told", delivery.lost()).await?;
    ensure!(delivery.is_lost(), "resolved as lost, and is not");
    let is_lost = |event| matches!(event, Event::Lost(_) | Event::LeaseLost(_)).then_some(());
    lab.event(&mut events, "lost", is_lost).await?;
    ensure!(!owned.is_lost(), "the new owner lost it");
    lab.within("the ack", owned.ack_confirmed()).await?.map_err(Into::into)
}

/// Three leases long nobody else gets it, though another member asks; then its ack counts.
async fn slow(lab: Lab) -> Checked {
    let (first, second) = (lab.process().await?, lab.process().await?);
    let mut owner = lab.join(&first).await?;
    lab.publish(&second, 0..1).await?;
    let delivery = lab.next(&mut owner, "the message").await?;
    let mut other = lab.join(&second).await?;
    lab.quiet(&mut other, lab.lease() * 3, "its owner lives and works on it").await?;
    ensure!(!delivery.is_lost(), "its owner lives, and lost it");
    lab.within("the ack", delivery.ack_confirmed()).await??;
    lab.until_done(&second, GROUP).await?;
    lab.quiet(&mut other, Duration::from_millis(200), "it is acked").await
}

/// Longer than its lease: an event at the member, its state in the status, under its name; over once it is settled.
async fn stuck(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.member(&process, GROUP).member("slow-one").start().await?;
    let other = lab.join(&process).await?;
    let mut events = consumer.events();
    let publisher = lab.publisher(&process).await?;
    // Over many keys, so that the slow one has its share where units are assigned.
    for n in 0..32 {
        lab.within("a receipt", publisher.publish(zephcast_core::Message::new(n.to_string()).with_key(n.to_string())))
            .await??;
    }
    lab.within("closing", other.close(Duration::from_secs(5))).await??;
    let delivery = lab.next(&mut consumer, "a message").await?;
    let is_stuck = |event| if let Event::Stuck { oldest } = event { Some(oldest) } else { None };
    let oldest = lab.event(&mut events, "stuck", is_stuck).await?;
    ensure!(oldest >= lab.lease(), "stuck after {oldest:?}, with a lease of {:?}", lab.lease());
    let state = |status: &zephcast_core::GroupStatus| {
        let member = status.members.iter().find(|member| member.name.as_str() == "slow-one");
        member.map(|member| member.state)
    };
    let is_stuck = |status: &zephcast_core::GroupStatus| state(status) == Some(MemberState::Stuck);
    let status = lab.until_status(&process, GROUP, "slow-one is stuck", is_stuck).await?;
    let held = status.members.iter().find(|member| member.name.as_str() == "slow-one").and_then(|m| m.oldest_delivery);
    ensure!(held >= Some(lab.lease()), "stuck, and its oldest delivery is {held:?}");
    number(&delivery)?;
    delivery.ack()?;
    let is_active = |status: &zephcast_core::GroupStatus| state(status) == Some(MemberState::Active);
    lab.until_status(&process, GROUP, "slow-one is active again", is_active).await.map(drop)
}

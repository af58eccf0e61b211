//! What is kept, what is dropped, and who is told.

use zephcast_core::driver::{Disposition, Fetched};
use zephcast_core::{Event, Message, Start, UnitId};
use zephcast_memory::MemoryConfig;

use crate::lab::{Lab, Member, lab, payloads, stream, with};

const SIZE: usize = 10_000;

/// A broker that keeps three of our messages.
fn small() -> Lab {
    with(MemoryConfig::new().partitions(1).retention_bytes(3 * SIZE as u64 + 2_000))
}

async fn publish(lab: &Lab, count: usize) {
    let batch: Vec<_> = (0..count).map(|_| Message::new(vec![0; SIZE])).collect();
    for result in lab.sink().await.publish(&batch).await {
        result.unwrap();
    }
}

async fn missing(member: &mut Member) -> u64 {
    match member.fetch().await {
        Fetched::Event(Event::Missing { unit: UnitId(0), count }) => count,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_told_what_it_did_not_get() {
    let lab = small();
    let mut a = lab.join("a").await;
    a.assigned().await;
    publish(&lab, 10).await;
    assert_eq!(lab.status().await.lag, Some(3));
    assert_eq!(missing(&mut a).await, 7);
    let batch = a.batch().await;
    assert_eq!(batch.messages.iter().map(|m| m.token.0).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(a.ack(&batch).await, []);
    a.quiet().await;
    let status = lab.status().await;
    assert_eq!((status.lag, status.units[0].committed.as_deref()), (Some(0), Some("10")));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_can_be_settled_though_it_was_dropped() {
    let lab = small();
    publish(&lab, 2).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.batch().await;
    publish(&lab, 3).await;
    assert_eq!(a.ack(&held).await, []);
    assert_eq!(a.batch().await.messages.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_after_it_was_dropped_is_missing() {
    let lab = small();
    publish(&lab, 3).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.batch().await;
    publish(&lab, 2).await;
    for message in &held.messages {
        a.dispose(0, message.token, Disposition::Return { attempts: 0 }).await.unwrap();
    }
    assert_eq!(missing(&mut a).await, 2);
    assert_eq!(a.one().await.origin.1.0, 2);
    assert_eq!(a.batch().await.messages.len(), 2);
    assert_eq!(lab.status().await.lag, Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_is_the_groups_own_and_never_dropped() {
    let lab = small();
    publish(&lab, 1).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    let held = a.one().await;
    a.dispose(0, held.token, crate::lab::later(&held, std::time::Duration::from_secs(1))).await.unwrap();
    publish(&lab, 10).await;
    assert_eq!(missing(&mut a).await, 7);
    assert_eq!(a.batch().await.messages.len(), 3);
    let again = a.one().await;
    assert_eq!((again.message, again.published_ms), (held.message, held.published_ms));
}

#[tokio::test(start_paused = true)]
async fn trimming_drops_what_every_group_has_settled() {
    let lab = lab(1);
    lab.publish(["a", "b", "c", "d"]).await;
    assert_eq!(lab.admin().trim(&stream()).await.unwrap(), 0, "kept for groups to come");
    let mut fast = lab.join("a").await;
    let mut slow = lab.start_at("audit", Start::Earliest).await.unwrap();
    fast.assigned().await;
    slow.assigned().await;
    let (all, some) = (fast.batch().await, slow.batch().await);
    fast.ack(&all).await;
    slow.ack_tokens(0, some.messages[..2].iter().map(|m| m.token)).await.unwrap();
    assert_eq!(lab.admin().trim(&stream()).await.unwrap(), 2);
    assert_eq!(lab.admin().stream(&stream()).await.unwrap().depth, Some(2));
    // What is to be handed out again is needed too.
    slow.dispose(0, some.messages[2].token, Disposition::Return { attempts: 0 }).await.unwrap();
    slow.ack_tokens(0, [some.messages[3].token]).await.unwrap();
    assert_eq!(lab.admin().trim(&stream()).await.unwrap(), 0);
    assert_eq!(payloads(&slow.batch().await), ["c"]);
}

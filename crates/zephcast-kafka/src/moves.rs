//! Messages on their way to the group's helper topics: those that come later, and those that were given up.
//!
//! First the copy is confirmed, then the original is settled; a death in between makes a second copy, never none.

use std::collections::BTreeSet;

use zephcast_core::driver::Disposition;
use zephcast_core::{Message, Result, UnitId};

use crate::clock::now_ms;
use crate::member::Member;
use crate::record::{Notes, Outgoing};
use crate::topics::Delay;

const OPERATION: &str = "settle";
/// How long a message may be delayed at most: ten years, so that its due time is a time.
const LONGEST_MS: u64 = 315_360_000_000;

/// Stores the copy.
pub(crate) async fn to_helper(member: &Member, unit: UnitId, disposition: &Disposition) -> Result<()> {
    match disposition {
        Disposition::Later { delay, attempts, message, origin, published_ms, first_failed_ms } => {
            let class = Delay::of(*delay);
            let topic = member.topics.retry(class);
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(LONGEST_MS).min(LONGEST_MS);
            let notes = Notes {
                attempts: *attempts,
                origin: Some((origin.unit, origin.token)),
                published_ms: *published_ms,
                first_failed_ms: *first_failed_ms,
                due_ms: Some(now_ms() + delay_ms),
                ..Notes::default()
            };
            store(member, topic, message, &notes).await?;
            subscribe(member, topic);
            Ok(())
        }
        Disposition::Dead { message, origin, published_ms, attempts, failure } => {
            let notes = Notes {
                attempts: *attempts,
                origin: Some((origin.unit, origin.token)),
                published_ms: *published_ms,
                first_failed_ms: Some(failure.first_failed_ms),
                last_failed_ms: Some(failure.last_failed_ms),
                reason: Some(failure.reason.clone()),
                origin_text: Some(format!("{}@{origin}", member.topics.stream)),
                due_ms: None,
            };
            store(member, &member.topics.dead, message, &notes).await
        }
        Disposition::Keep { .. } | Disposition::Return { .. } => {
            debug_assert!(false, "stays where it is, in {unit}");
            Ok(())
        }
    }
}

/// Makes sure that the helper topics exist that these need.
pub(crate) async fn prepare(member: &Member, dispositions: &[&Disposition]) -> Result<()> {
    let topic = |disposition: &&Disposition| match disposition {
        Disposition::Later { delay, .. } => Some(member.topics.retry(Delay::of(*delay))),
        Disposition::Dead { .. } => Some(member.topics.dead.as_str()),
        Disposition::Keep { .. } | Disposition::Return { .. } => None,
    };
    let needed: BTreeSet<&str> = dispositions.iter().filter_map(topic).collect();
    for topic in needed {
        ensure(member, topic).await?;
    }
    Ok(())
}

async fn ensure(member: &Member, topic: &str) -> Result<()> {
    if member.assignment().helpers.contains(topic) {
        return Ok(());
    }
    let partitions = if topic == member.topics.dead { 1 } else { member.partitions };
    member.cluster.ensure_helper(OPERATION, topic, partitions).await?;
    member.assignment().helpers.insert(topic.to_owned());
    Ok(())
}

async fn store(member: &Member, topic: &str, message: &Message, notes: &Notes) -> Result<()> {
    let outgoing = Outgoing::new(message, notes)?;
    let stored = member.producer.store(topic, None, outgoing).await;
    stored.map(drop).map_err(|failure| {
        if failure.kind() == zephcast_core::ErrorKind::NotFound {
            // Deleted meanwhile: made again at the next try.
            member.assignment().helpers.remove(topic);
        }
        failure.error().clone()
    })
}

/// Whoever makes the first message come later has to read it, too.
fn subscribe(member: &Member, topic: &str) {
    if member.assignment().topics.insert(topic.to_owned()) {
        member.assignment().resubscribe = true;
        member.wake();
    }
}

//! Looks from time to time whether the group has retry topics that this member does not read.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::member::Member;

/// How long what another member made come later may stay unseen after that member's death.
const EVERY: Duration = Duration::from_secs(15);

/// A task that ends when this is dropped.
pub(crate) struct Keeper(JoinHandle<()>);

impl Keeper {
    pub(crate) fn start(member: Arc<Member>) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            // The first look was made by joining.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                match member.cluster.existing("look for retries", member.topics.retries()).await {
                    Ok(topics) => {
                        let mut assignment = member.assignment();
                        let fresh: Vec<String> = topics.into_iter().map(|(topic, _)| topic).collect();
                        let before = assignment.topics.len();
                        assignment.topics.extend(fresh);
                        assignment.resubscribe |= assignment.topics.len() > before;
                        drop(assignment);
                        member.wake();
                    }
                    Err(error) => tracing::debug!(%error, stream = %member.topics.stream, "not looked for retries"),
                }
            }
        }))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

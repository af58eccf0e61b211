//! Publishing at a steady pace, each message once, as many as the storm wants so far.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use zephcast::{Client, PublishError};
use zephcast_conformance::History;

use super::{MESSAGES, STREAM};

const BURST: u64 = 100;
const EVERY: Duration = Duration::from_millis(60);

/// Publishes everything, never more than is wanted, and says how many outcomes are unknown.
pub(crate) async fn publish(client: Client, history: Arc<History>, mut wanted: watch::Receiver<u64>) -> usize {
    let publisher = client.publisher(STREAM).timeout(Duration::from_secs(60)).await.expect("opens");
    let mut pace = tokio::time::interval(EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unknown = 0;
    for published in (0..MESSAGES).step_by(BURST as usize) {
        wanted.wait_for(|wanted| *wanted > published).await.expect("the storm goes on");
        pace.tick().await;
        let messages: Vec<_> = (0..BURST).map(|_| history.message(200)).collect();
        let payloads: Vec<_> = messages.iter().map(|message| message.payload().clone()).collect();
        let outcomes = publisher.publish_all(messages).await;
        unknown += outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(PublishError::is_unknown)).count();
        for (payload, outcome) in payloads.iter().zip(&outcomes) {
            history.published(payload, outcome);
        }
    }
    unknown
}

//! Publishing at a steady pace, each message once.

use std::sync::Arc;
use std::time::Duration;

use zephcast::{Client, PublishError};
use zephcast_conformance::History;

use super::{MESSAGES, STREAM};

const BURST: u64 = 100;
/// All messages take about half a minute, and what an outage held up is caught up with.
const EVERY: Duration = Duration::from_millis(52);

/// Publishes everything, and says how many outcomes are unknown.
pub(crate) async fn publish(client: Client, history: Arc<History>) -> usize {
    let publisher = client.publisher(STREAM).timeout(Duration::from_secs(30)).await.expect("opens");
    let mut pace = tokio::time::interval(EVERY);
    let mut unknown = 0;
    for _ in 0..MESSAGES / BURST {
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

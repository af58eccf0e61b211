//! Publishing at a steady pace, each message once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Interval;
use zephcast::{Client, PublishError};
use zephcast_conformance::History;

use super::Terms;

const BURST: u64 = 100;

/// Publishes so many messages, a hundred each time, and says how many outcomes are unknown.
///
/// # Panics
/// When the stream cannot be published to at all.
pub async fn publish(terms: Terms, client: Client, history: Arc<History>, messages: u64, mut pace: Interval) -> usize {
    let publisher = client.publisher(terms.stream).timeout(Duration::from_secs(30)).await.expect("opens");
    let mut unknown = 0;
    for _ in 0..messages / BURST {
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

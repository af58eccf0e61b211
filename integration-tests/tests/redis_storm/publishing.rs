//! Publishing at a steady pace, each message once.

use std::sync::Arc;
use std::time::Duration;

use zephcast::Client;
use zephcast_conformance::History;

use super::{MESSAGES, STREAM};

const BURST: u64 = 100;
const EVERY: Duration = Duration::from_millis(40);

pub(crate) async fn publish(client: Client, history: Arc<History>) {
    let publisher = client.publisher(STREAM).timeout(Duration::from_secs(30)).await.expect("opens");
    let mut pace = tokio::time::interval(EVERY);
    for _ in 0..MESSAGES / BURST {
        pace.tick().await;
        let messages: Vec<_> = (0..BURST).map(|_| history.message(200)).collect();
        let payloads: Vec<_> = messages.iter().map(|message| message.payload().clone()).collect();
        let outcomes = publisher.publish_all(messages).await;
        for (payload, outcome) in payloads.iter().zip(&outcomes) {
            history.published(payload, outcome);
        }
    }
}

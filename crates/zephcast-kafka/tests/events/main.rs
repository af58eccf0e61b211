//! What a member is told of its brokers, beside its messages.

mod nodes;
mod range;

use std::time::Duration;

use tokio::time::timeout;
use zephcast_kafka::{Event, Events};

/// For what comes at once, and what takes a connection, a rebalance or a few looks.
const SOON: Duration = Duration::from_secs(30);

/// The first event that is one of these.
async fn told<T>(events: &mut Events, is_it: impl Fn(Event) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = is_it(events.next().await.expect("the member lives")) {
                return found;
            }
        }
    };
    timeout(SOON, found).await.expect("told in time")
}

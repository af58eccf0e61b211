//! A loop over a full stream shares its thread with others.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use zephcast_core::{Client, Message};
use zephcast_memory::MemoryBroker;

const MESSAGES: usize = 900;

#[tokio::test(start_paused = true)]
async fn a_loop_over_deliveries_at_hand_lets_other_tasks_run() {
    let client = Client::new(MemoryBroker::new().driver());
    let mut consumer = client.consumer("stream").group("group").prefetch(MESSAGES).start().await.unwrap();
    let publisher = client.publisher("stream").await.unwrap();
    for receipt in publisher.publish_all((0..MESSAGES).map(|n| Message::new(n.to_string()))).await {
        receipt.unwrap();
    }
    // The clock stands still until everybody waits: everything is fetched by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut polls = 0;
    let mut work = pin!(async {
        for _ in 0..MESSAGES {
            consumer.next().await.unwrap().unwrap().ack().unwrap();
        }
    });
    poll_fn(|cx| {
        polls += 1;
        work.as_mut().poll(cx)
    })
    .await;
    assert!(polls > 4, "{MESSAGES} deliveries were handled in {polls} polls");
}

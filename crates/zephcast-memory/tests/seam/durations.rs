//! Durations without an end are no panic, wherever they are given.

use std::time::Duration;

use zephcast_core::{Client, Delivery, Error};
use zephcast_memory::MemoryBroker;

const NEVER: Duration = Duration::MAX;

#[tokio::test(start_paused = true)]
async fn a_duration_without_an_end_means_never() {
    let client = Client::new(MemoryBroker::new().driver());
    let publisher = client.publisher("stream").timeout(NEVER).await.unwrap();
    publisher.publish("first").await.unwrap();
    let mut consumer = client.consumer("stream").group("g").lease(NEVER).drain(NEVER).start().await.unwrap();
    consumer.next().await.unwrap().unwrap().nack_after(NEVER).unwrap();
    assert!(consumer.close(NEVER).await.unwrap().clean);
    publisher.publish("second").await.unwrap();
    let (done, handled) = tokio::sync::oneshot::channel();
    let done = std::sync::Mutex::new(Some(done));
    let handler = async |_: &Delivery| {
        done.lock().unwrap().take().unwrap().send(()).unwrap();
        Ok::<_, Error>(())
    };
    let shutdown = async { handled.await.unwrap() };
    let report = client.group("stream", "g").drain(NEVER).run(handler, shutdown).await.unwrap();
    assert!(report.clean && report.acked == 1, "{report:?}");
    client.close(NEVER).await.unwrap();
}

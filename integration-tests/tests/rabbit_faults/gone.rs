//! Somebody deletes a group's queue, or a stream's exchange.

use std::time::Duration;

use zephcast::{ErrorKind, Event};

use super::lab;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_makes_its_queue_again_and_says_so() {
    const STREAM: &str = "queue-deleted";
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    let mut consumer = lab::join(&client, STREAM, 100).await;
    let mut events = consumer.events();
    lab::publish(&client, STREAM, 0..5).await;
    let held = lab::take(&mut consumer, 5).await;
    server.ctl(&["delete_queue", "queue-deleted.all"]).await.expect("deletes");
    lab::hears(&mut events, |event| matches!(event, Event::Lost(_))).await;
    lab::hears(&mut events, |event| matches!(event, Event::Recreated)).await;
    lab::refuses(held).await;
    lab::publish(&client, STREAM, 5..10).await;
    let _ = consumer.commit().await;
    lab::all_come(&mut consumer, 5..10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_deleted_is_missed_and_its_groups_are_bound_again() {
    const STREAM: &str = "exchange-deleted";
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    let mut consumer = lab::join(&client, STREAM, 100).await;
    let publisher = client.publisher(STREAM).await.expect("opens");
    publisher.publish("0").await.expect("is stored");
    lab::all_come(&mut consumer, [0]).await;
    lab::delete_exchange(&server, STREAM).await;
    // A group is bound again some seconds after the last message came.
    let began = tokio::time::Instant::now();
    loop {
        match publisher.publish("1").await {
            Ok(_) => break,
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::Unroutable), "{error:?}");
                assert!(began.elapsed() < lab::PATIENCE, "never again: {error:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    println!("the group was bound again after {:?}", began.elapsed());
    lab::all_come(&mut consumer, [1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_missing_is_told_by_a_look_at_its_group() {
    const STREAM: &str = "exchange-missing";
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    // What is without members nobody binds again.
    lab::join(&client, STREAM, 100).await.close(lab::PATIENCE).await.expect("leaves");
    let kinds = async || {
        let status = client.group_status(STREAM, lab::GROUP).await.expect("is there");
        status.warnings.into_iter().map(|warning| warning.kind).collect::<Vec<_>>()
    };
    assert!(!kinds().await.contains(&"no_stream"));
    lab::delete_exchange(&server, STREAM).await;
    assert!(kinds().await.contains(&"no_stream"));
}

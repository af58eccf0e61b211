//! How much a member has from the server: never more than it asked for, but for one that a commit brings, nor more than
//! there is room for.

use std::collections::BTreeSet;
use std::time::Duration;

use zephcast::{Client, Delivery, Event};

use super::lab;

const STREAM: &str = "window";
const PREFETCH: usize = 5;
const MESSAGES: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_take_no_more_than_there_is_room_for_and_leaving_keeps_the_order() {
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    let mut member = lab::join(&client, STREAM, PREFETCH).await;
    lab::publish(&client, STREAM, 0..MESSAGES).await;
    let mut held = lab::take(&mut member, PREFETCH).await;
    let mut settled = 0;
    for _ in 0..30 {
        // The window is full at each commit.
        held.remove(0).ack().expect("is ours");
        settled += 1;
        member.commit().await.expect("is settled");
        held.push(lab::next(&mut member).await);
        let status = client.group_status(STREAM, lab::GROUP).await.expect("is there");
        assert!(status.in_flight <= Some(PREFETCH as u64 + 1), "{:?} in flight", status.in_flight);
        assert_eq!(status.lag, Some(u64::from(MESSAGES - settled)));
    }
    let unsettled = held.iter().map(lab::number).collect::<Vec<_>>();
    assert_eq!(unsettled, (settled..settled + PREFETCH as u32).collect::<Vec<_>>());
    drop(held);
    member.close(Duration::from_secs(10)).await.expect("leaves");
    let mut next = lab::join(&client, STREAM, PREFETCH).await;
    for number in settled..MESSAGES {
        let delivery = lab::next(&mut next).await;
        assert_eq!((lab::number(&delivery), delivery.attempt()), (number, 1));
        delivery.ack().expect("is ours");
    }
    next.commit().await.expect("is settled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_settles_nothing_has_as_many_as_it_asked_for() {
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    for prefetch in [20, 40, 100] {
        let stream = format!("stalled-{prefetch}");
        let mut member = lab::join(&client, &stream, prefetch).await;
        lab::publish(&client, &stream, 0..MESSAGES).await;
        let held = lab::take(&mut member, 1).await;
        let in_flight = async || client.group_status(&stream, lab::GROUP).await.expect("is there").in_flight;
        let all = async { while in_flight().await != Some(prefetch as u64) {} };
        tokio::time::timeout(lab::PATIENCE, all).await.expect("it has them in time");
        // Time enough for the server to hand out one more.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(in_flight().await, Some(prefetch as u64));
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_active_member_has_no_more_large_messages_than_there_is_room_for() {
    const STREAM: &str = "single-and-large";
    let server = lab::shared().await;
    let client = zephcast::connect(&format!("{}&single-active-consumer=true", server.url())).await.expect("connects");
    let mut member = lab::join(&client, STREAM, 1_000).await;
    publish_large(&client, STREAM).await;
    let mut done = Vec::new();
    while done.len() < LARGE as usize {
        let delivery = lab::next(&mut member).await;
        let number = number_of(&delivery);
        if done.len() == LARGE as usize / 4 {
            let status = client.group_status(STREAM, lab::GROUP).await.expect("is there");
            // 16 MiB of these are 32.
            assert!(status.in_flight <= Some(33), "{status:?}");
        }
        // What was in hand as the window turned out to be too large comes again.
        if delivery.ack_confirmed().await.is_ok() {
            done.push(number);
        }
    }
    assert!(done.iter().copied().eq(0..LARGE), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_single_active_members_that_join_anew_neither_overtakes_and_no_message_is_suspected() {
    const STREAM: &str = "two-single-and-large";
    let server = lab::shared().await;
    let client = zephcast::connect(&format!("{}&single-active-consumer=true", server.url())).await.expect("connects");
    let (mut one, mut other) = (lab::join(&client, STREAM, 1_000).await, lab::join(&client, STREAM, 1_000).await);
    let mut events = other.events();
    publish_large(&client, STREAM).await;
    let mut came = BTreeSet::new();
    while came.len() < LARGE as usize {
        let delivery = tokio::select! {
            delivery = lab::next(&mut one) => delivery,
            delivery = lab::next(&mut other) => delivery,
        };
        let number = number_of(&delivery);
        assert!(number as usize <= came.len(), "{number} overtook: {came:?}");
        assert_eq!(delivery.attempt(), 1, "{number}");
        came.insert(number);
        // What was in hand as the window turned out to be too large is too late, and comes again.
        let _ = delivery.ack();
    }
    // The other one had its turn as the first joined anew, and then joined anew itself.
    lab::hears(&mut events, |event| matches!(event, Event::Lost(_))).await;
    for member in [&one, &other] {
        // Says so if some of the acks came too late.
        let _ = member.commit().await;
    }
    assert_eq!(lab::suspects(&server, STREAM).await, 0);
}

/// So many messages of half a MiB.
const LARGE: u32 = 120;

async fn publish_large(client: &Client, stream: &str) {
    let publisher = client.publisher(stream).await.expect("opens");
    let messages = (0..LARGE).map(|number| {
        let mut payload = number.to_string().into_bytes();
        payload.resize(512 * 1024, b' ');
        zephcast::Message::new(payload)
    });
    for outcome in publisher.publish_all(messages).await {
        outcome.expect("is stored");
    }
}

fn number_of(delivery: &Delivery) -> u32 {
    delivery.payload_str().expect("text").trim().parse().expect("a number")
}

//! How much a member has from the server: never more than it asked for, but for one that a commit brings, nor more than
//! there is room for.

use std::time::Duration;

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
async fn a_single_active_member_has_no_more_large_messages_than_there_is_room_for() {
    const STREAM: &str = "single-and-large";
    const SIZE: usize = 512 * 1024;
    const ALL: u32 = 120;
    let server = lab::shared().await;
    let client = zephcast::connect(&format!("{}&single-active-consumer=true", server.url())).await.expect("connects");
    let mut member = lab::join(&client, STREAM, 1_000).await;
    let publisher = client.publisher(STREAM).await.expect("opens");
    let messages = (0..ALL).map(|number| {
        let mut payload = number.to_string().into_bytes();
        payload.resize(SIZE, b' ');
        zephcast::Message::new(payload)
    });
    for outcome in publisher.publish_all(messages).await {
        outcome.expect("is stored");
    }
    let mut done = Vec::new();
    while done.len() < ALL as usize {
        let delivery = lab::next(&mut member).await;
        let number: u32 = delivery.payload_str().expect("text").trim().parse().expect("a number");
        if done.len() == ALL as usize / 4 {
            let status = client.group_status(STREAM, lab::GROUP).await.expect("is there");
            // 16 MiB of these are 32.
            assert!(status.in_flight <= Some(33), "{status:?}");
        }
        // What was in hand as the window turned out to be too large comes again.
        if delivery.ack_confirmed().await.is_ok() {
            done.push(number);
        }
    }
    assert!(done.iter().copied().eq(0..ALL), "{done:?}");
}

//! Members that live are believed: what they hand over, or never saw, is no suspect.

use std::time::Duration;

use tokio::time::Instant;

use super::lab;

const STREAM: &str = "innocence";
const PREFETCH: usize = 200;
/// With how many a member begins that does not know how large messages are.
const CAUTIOUS: u32 = 16;
const MESSAGES: u32 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_gives_back_comes_in_order_and_at_full_speed() {
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    let mut member = lab::join(&client, STREAM, PREFETCH).await;
    lab::publish(&client, STREAM, 0..MESSAGES).await;
    for round in 0..5 {
        // One that is handed out and not begun is given back with the others.
        let held = lab::take(&mut member, 20).await;
        assert_eq!(lab::number(&held[0]), 0, "round {round}");
        drop(held);
        let report = member.close(Duration::from_secs(10)).await.expect("leaves");
        assert!(report.clean, "{report:?}");
        let begin = Instant::now();
        member = lab::join(&client, STREAM, PREFETCH).await;
        let first = lab::next(&mut member).await;
        let took = begin.elapsed();
        println!("round {round}: the first came {took:?} after joining began");
        assert_eq!((lab::number(&first), first.attempt()), (0, 1));
        assert!(first.nack().is_ok());
        member.close(Duration::from_secs(10)).await.expect("leaves");
        member = lab::join(&client, STREAM, PREFETCH).await;
    }
    let begin = Instant::now();
    for number in 0..MESSAGES {
        let delivery = lab::next(&mut member).await;
        assert_eq!(lab::number(&delivery), number);
        delivery.ack().expect("is ours");
    }
    member.commit().await.expect("is settled");
    let took = begin.elapsed();
    println!("all {MESSAGES} within {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_grows_and_everything_fits_into_it() {
    const ROUNDS: u32 = 20;
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    for round in 0..ROUNDS {
        let stream = format!("grows-{round}");
        let mut member = lab::join(&client, &stream, PREFETCH).await;
        lab::publish(&client, &stream, 0..MESSAGES).await;
        // None is settled, so that a suspect would have to wait for ever. With three quarters in hand a member waits until
        // more of its window is free.
        let most = PREFETCH * 3 / 4;
        let held = lab::take(&mut member, most).await;
        assert!(held.iter().map(lab::number).eq(0..most as u32), "round {round}");
        assert_eq!(lab::suspects(&server, &stream).await, 0, "round {round}");
        drop(held);
        member.close(Duration::from_secs(10)).await.expect("leaves");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_grows_amid_settlements_and_nobody_is_suspected() {
    const ROUNDS: u32 = 5;
    const LOAD: u32 = 2_000;
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    for round in 0..ROUNDS {
        let stream = format!("grows-amid-{round}");
        // Nothing comes to the one that leaves, so that nothing is pardoned.
        lab::join(&client, &stream, PREFETCH).await.close(Duration::from_secs(10)).await.expect("leaves");
        lab::publish(&client, &stream, 0..LOAD).await;
        let mut member = lab::join(&client, &stream, PREFETCH).await;
        lab::all_come(&mut member, 0..LOAD).await;
        assert_eq!(lab::suspects(&server, &stream).await, 0, "round {round}");
        let status = client.group_status(&stream, lab::GROUP).await.expect("is there");
        // But for what it held when the window grew.
        assert_eq!(status.members[0].prefetch, Some(PREFETCH as u32 - CAUTIOUS), "{status:?}");
        member.close(Duration::from_secs(10)).await.expect("leaves");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_under_load_and_nobody_is_suspected() {
    const STREAM: &str = "churn";
    const LEAVES: u32 = 10;
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    let staying = lab::join(&client, STREAM, PREFETCH).await;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let staying = tokio::spawn(all_until(staying, stopped.clone()));
    let publisher = client.publisher(STREAM).await.expect("opens");
    let publishing = tokio::spawn(async move {
        let mut number = 0_u32;
        while !*stopped.borrow_and_update() {
            let messages = (number..number + 50).map(|number| zephcast::Message::new(number.to_string()));
            for outcome in publisher.publish_all(messages).await {
                outcome.expect("is stored");
            }
            number += 50;
        }
        number
    });
    let mut seen = Vec::new();
    for _ in 0..LEAVES {
        let mut member = lab::join(&client, STREAM, PREFETCH).await;
        for _ in 0..PREFETCH {
            let delivery = lab::next(&mut member).await;
            seen.push(lab::number(&delivery));
            delivery.ack().expect("is ours");
        }
        let report = member.close(Duration::from_secs(10)).await.expect("leaves");
        assert!(report.clean, "{report:?}");
    }
    stop.send(true).expect("they listen");
    let published = publishing.await.expect("no panic");
    let (mut others, mut staying) = staying.await.expect("no panic");
    seen.append(&mut others);
    seen.sort_unstable();
    seen.dedup();
    lab::all_come(&mut staying, (0..published).filter(|number| seen.binary_search(number).is_err())).await;
    assert_eq!(lab::suspects(&server, STREAM).await, 0, "of {published}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_over_from_a_single_active_member_that_leaves_keeps_the_order() {
    const STREAM: &str = "next-single";
    const ROUNDS: u32 = 5;
    let server = lab::shared().await;
    let client = zephcast::connect(&format!("{}&single-active-consumer=true", server.url())).await.expect("connects");
    let mut active = lab::join(&client, STREAM, 50).await;
    lab::publish(&client, STREAM, 0..MESSAGES).await;
    let mut first = 0;
    for round in 0..ROUNDS {
        let next = lab::join(&client, STREAM, 50).await;
        for number in first..first + 10 {
            let delivery = lab::next(&mut active).await;
            assert_eq!(lab::number(&delivery), number, "round {round}");
            delivery.ack().expect("is ours");
        }
        first += 10;
        // With forty in hand that nobody has begun.
        let report = active.close(Duration::from_secs(10)).await.expect("leaves");
        assert!(report.clean, "{report:?}");
        active = next;
    }
    for number in first..MESSAGES {
        let delivery = lab::next(&mut active).await;
        assert_eq!(lab::number(&delivery), number);
        delivery.ack().expect("is ours");
    }
    active.commit().await.expect("is settled");
    assert_eq!(lab::suspects(&server, STREAM).await, 0);
}

/// Acks everything that comes until it is time to stop.
async fn all_until(
    mut member: zephcast::Consumer,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> (Vec<u32>, zephcast::Consumer) {
    let mut seen = Vec::new();
    loop {
        let delivery = tokio::select! {
            biased;
            _ = stopped.changed() => return (seen, member),
            delivery = lab::next(&mut member) => delivery,
        };
        seen.push(lab::number(&delivery));
        delivery.ack().expect("is ours");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_to_be_moved_is_handed_out_and_ends_nobody() {
    const STREAM: &str = "too-large-to-move";
    let server = lab::private().await;
    let (proxy, doomed) = lab::connect_by_proxy(&server).await;
    let mut dying = lab::join(&doomed, STREAM, 10).await;
    let client = lab::connect(&server).await;
    let publisher = client.publisher(STREAM).await.expect("opens");
    publisher.publish(vec![b'x'; 1_500_000]).await.expect("is stored");
    let held = lab::take(&mut dying, 1).await;
    // For channels that are opened from now on.
    server.ctl(&["eval", "application:set_env(rabbit, max_message_size, 1200000)."]).await.expect("sets");
    let fresh = lab::connect(&server).await;
    let mut living = lab::join(&fresh, STREAM, 10).await;
    // It never comes back to say that it lives.
    proxy.down().await;
    proxy.reset();
    lab::lost(&held).await;
    let delivery = lab::next(&mut living).await;
    assert_eq!(delivery.payload().len(), 1_500_000);
    delivery.ack_confirmed().await.expect("is ours");
}

//! Too little memory at the server.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use zephcast::{ErrorKind, Event, GroupStatus};

use super::lab;

const STREAM: &str = "alarm";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_at_a_group_is_told_of_it() {
    const STREAM: &str = "alarm-seen";
    let server = lab::private().await;
    let client = lab::connect(&server).await;
    let _consumer = lab::join(&client, STREAM, 7).await;
    lab::publish(&client, STREAM, 0..1).await;
    let kinds = |status: &GroupStatus| status.warnings.iter().map(|warning| warning.kind).collect::<Vec<_>>();
    let look = async || client.group_status(STREAM, lab::GROUP).await.expect("a status");
    // The member cannot answer, as it publishes nothing; its consumer is known to the management API, which counts
    // consumers at another time than alarms.
    let prefetches = |status: &GroupStatus| status.members.iter().map(|member| member.prefetch).collect::<Vec<_>>();
    let until = async |expected: &[&str]| {
        let seen = async {
            loop {
                let status = look().await;
                if kinds(&status) == expected && prefetches(&status) == [Some(7)] {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(lab::PATIENCE, seen).await.expect("is told in time")
    };
    let calm = look().await;
    assert_eq!(kinds(&calm), [""; 0], "{calm:?}");

    server.raise_memory_alarm().await.expect("an alarm");
    let status = until(&["blocked", "alarm"]).await;
    println!("{status:?}");
    assert!(status.warnings[0].message.contains("low on memory"), "{status:?}");
    assert!(status.warnings[1].message.contains("too little memory"), "{status:?}");
    assert!(status.warnings.iter().all(|warning| warning.advice.contains("free memory")), "{status:?}");

    server.clear_memory_alarm().await.expect("no alarm");
    until(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_publishes_waits_for_memory_and_who_consumes_goes_on() {
    let server = lab::private().await;
    let client = lab::connect(&server).await;
    let leaving = lab::connect(&server).await;
    let mut consumer = lab::join(&client, STREAM, 100).await;
    lab::publish(&client, STREAM, 0..20).await;
    lab::publish(&leaving, STREAM, 20..21).await;
    let mut held = lab::take(&mut consumer, 21).await;
    let mut events = consumer.events();

    server.raise_memory_alarm().await.expect("an alarm");
    let patient = client.publisher(STREAM).timeout(Duration::from_secs(60)).await.expect("opens");
    assert!(patient.trouble().is_none());
    let waiting = tokio::spawn({
        let patient = patient.clone();
        async move { patient.publish("100").await }
    });
    let told = lab::hears(&mut events, |event| matches!(event, Event::Blocked(_))).await;
    assert!(format!("{told:?}").contains("low on memory"), "{told:?}");
    assert_eq!(patient.trouble().expect("it waits").kind(), ErrorKind::Blocked);
    for client in [&client, &leaving] {
        let hasty = client.publisher(STREAM).timeout(Duration::from_millis(700)).await.expect("opens");
        let (refused, took) = loop {
            let begin = Instant::now();
            let refused = hasty.publish("101").await.expect_err("the server takes nothing");
            if !refused.is_unknown() {
                break (refused, begin.elapsed());
            }
            // Of what was on its way when the server stopped listening nobody knows what becomes, and yet why.
            assert!(format!("{refused:?}").contains("low on memory"), "{refused:?}");
        };
        println!("after {took:?}: {refused:?}");
        assert_eq!(refused.kind(), ErrorKind::Blocked, "{refused:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    for _ in 0..5 {
        let begin = Instant::now();
        held.pop().expect("held").ack_confirmed().await.expect("is settled");
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(2), "an ack took {took:?} during the alarm");
    }
    for delivery in held.drain(..) {
        delivery.ack().expect("is ours");
    }
    let begin = Instant::now();
    consumer.commit().await.expect("is settled");
    assert!(begin.elapsed() < Duration::from_secs(2), "a commit took {:?} during the alarm", begin.elapsed());

    let begin = Instant::now();
    // That it could not say good-bye is no error: what was settled is settled.
    let _ = leaving.close(Duration::from_secs(3)).await;
    let took = begin.elapsed();
    println!("closing took {took:?}");
    assert!(took < Duration::from_secs(4), "closing took {took:?}");

    assert!(!waiting.is_finished(), "it was published in spite of the alarm");
    server.clear_memory_alarm().await.expect("no alarm");
    waiting.await.expect("no panic").expect("goes through at last");
    lab::hears(&mut events, |event| matches!(event, Event::Unblocked(_))).await;
    assert!(patient.trouble().is_none());
    lab::all_come(&mut consumer, [100]).await;
    // Members that leave during an alarm do so in time, and what they held goes to others.
    lab::publish(&client, STREAM, 200..220).await;
    let held = lab::take(&mut consumer, 20).await;
    server.raise_memory_alarm().await.expect("an alarm");
    let hasty = client.publisher(STREAM).timeout(Duration::from_millis(700)).await.expect("opens");
    hasty.publish("102").await.expect_err("the server takes nothing");
    let begin = Instant::now();
    drop(held);
    consumer.close(Duration::from_secs(3)).await.expect("leaves");
    let took = begin.elapsed();
    println!("leaving took {took:?}");
    assert!(took < Duration::from_secs(4), "leaving took {took:?}");
    let mut other = lab::join(&client, STREAM, 100).await;
    server.clear_memory_alarm().await.expect("no alarm");
    lab::all_come(&mut other, 200..220).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_member_held_waits_for_memory_and_is_no_outage() {
    const STREAM: &str = "alarm-and-death";
    let server = lab::private().await;
    let (proxy, doomed) = lab::connect_by_proxy(&server).await;
    let client = lab::connect(&server).await;
    let mut dying = lab::join(&doomed, STREAM, 10).await;
    lab::publish(&client, STREAM, 0..5).await;
    let held = lab::take(&mut dying, 5).await;
    let mut living = lab::join(&client, STREAM, 10).await;
    let mut events = living.events();

    server.raise_memory_alarm().await.expect("an alarm");
    let hasty = client.publisher(STREAM).timeout(Duration::from_millis(700)).await.expect("opens");
    hasty.publish("100").await.expect_err("the server takes nothing");
    lab::hears(&mut events, |event| matches!(event, Event::Blocked(_))).await;
    // It never comes back to say that it lives.
    proxy.down().await;
    proxy.reset();
    lab::lost(&held).await;
    // Long enough for a member to find out that what comes again cannot be moved.
    let nothing = tokio::time::timeout(Duration::from_secs(2), living.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    server.clear_memory_alarm().await.expect("no alarm");
    lab::all_come(&mut living, 0..5).await;
    while let Some(Some(event)) = events.next().now_or_never() {
        assert!(!matches!(event, Event::Disconnected(_)), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_whose_connection_breaks_while_it_is_blocked_publishes_again() {
    const STREAM: &str = "alarm-and-reset";
    let server = lab::private().await;
    let (proxy, cut) = lab::connect_by_proxy(&server).await;
    let mut consumer = lab::join(&lab::connect(&server).await, STREAM, 10).await;
    let publisher = cut.publisher(STREAM).timeout(Duration::from_millis(700)).await.expect("opens");
    server.raise_memory_alarm().await.expect("an alarm");
    let blocked = async {
        while publisher.trouble().is_none() {
            publisher.publish("1").await.expect_err("the server takes nothing");
        }
    };
    tokio::time::timeout(lab::PATIENCE, blocked).await.expect("is told in time");
    proxy.reset();
    server.clear_memory_alarm().await.expect("no alarm");
    let published = async { while publisher.publish("0").await.is_err() {} };
    tokio::time::timeout(lab::PATIENCE, published).await.expect("publishes again");
    assert!(publisher.trouble().is_none());
    lab::all_come(&mut consumer, 0..1).await;
}

//! A rebalance that asks a member for partitions while it waits for a handler to leave.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use zephcast_kafka::{Client, Consumer, Delivery, GroupProtocol, Message};

use super::{SOON, lab};

const MESSAGES: usize = 40;
/// A member hears that it is asked by its next heartbeat, of which nobody is told.
const HEARTBEAT: Duration = Duration::from_millis(1_500);

/// What goes so goes as by any clean end: nothing that comes to another member counts as tried, and none is a suspect.
/// The leaving member keeps so many of two partitions when the group has both members; it hears of that after a while.
async fn gives_up_in_good_order(protocol: GroupProtocol, kept: usize, hears: Duration) {
    let (client, name) = lab(|config| config.partitions(2).group_protocol(protocol)).await;
    fill(&client, &name).await;
    let join = async || client.consumer(&name).group(&name).start().await.expect("a member");
    let mut first = join().await;
    let (member, slow) = (first.member().clone(), next(&mut first).await);
    let closing = tokio::spawn(first.close(SOON));
    let mut second = join().await;
    let asked = async {
        loop {
            let members = client.group_status(&name, &name).await.expect("a group").members;
            let left = members.iter().find(|status| status.name == member).map(|status| status.units.len());
            if members.len() == 2 && left == Some(kept) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, asked).await.expect("a rebalance in time");
    sleep(hears).await;
    slow.ack().expect("it still is this member's");
    let report = closing.await.expect("no panic").expect("it leaves");
    assert!(report.clean && report.acked == 1, "{report:?}");
    for _ in 1..MESSAGES {
        let delivery = next(&mut second).await;
        assert_eq!(delivery.attempt(), 1, "{:?} was not tried before", delivery.position());
        delivery.ack().expect("its own");
    }
    assert!(second.close(SOON).await.expect("it leaves").clean);
    client.admin().delete_stream(&name.parse().expect("a name")).await.expect("deleted");
}

async fn fill(client: &Client, name: &str) {
    let publisher = client.publisher(name).await.expect("opens");
    let keyed = |number: usize| Message::new(number.to_string()).with_key(number.to_string());
    for stored in publisher.publish_all((0..MESSAGES).map(keyed)).await {
        stored.expect("stored");
    }
}

async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(SOON, consumer.next()).await.expect("a delivery in time").expect("no end").expect("no permanent error")
}

#[tokio::test]
async fn a_partition_that_a_leaving_member_is_asked_for_goes_in_good_order() {
    gives_up_in_good_order(GroupProtocol::Classic, 1, Duration::ZERO).await;
}

#[tokio::test]
async fn all_that_a_leaving_member_gives_up_eagerly_goes_in_good_order() {
    gives_up_in_good_order(GroupProtocol::Eager, 2, HEARTBEAT).await;
}

/// Handlers that do not finish hold others up for as long as they may when their partition goes, not for as long as their
/// member may take to leave.
#[tokio::test]
async fn a_leaving_member_does_not_hold_up_who_gets_its_partitions() {
    const DRAIN: Duration = Duration::from_secs(1);
    const CLOSING: Duration = Duration::from_secs(60);
    let (client, name) = lab(|config| config.partitions(2)).await;
    fill(&client, &name).await;
    let join = async || client.consumer(&name).group(&name).drain(DRAIN).start().await.expect("a member");
    let mut first = join().await;
    let mut held = Vec::new();
    for _ in 0..MESSAGES {
        held.push(next(&mut first).await);
    }
    let closing = tokio::spawn(first.close(CLOSING));
    let mut second = join().await;
    let again = next(&mut second).await;
    assert!(!closing.is_finished(), "nobody waits for what is held");
    drop((held, again));
    closing.await.expect("no panic").expect("it leaves");
    assert!(second.close(SOON).await.expect("it leaves").clean);
    client.admin().delete_stream(&name.parse().expect("a name")).await.expect("deleted");
}

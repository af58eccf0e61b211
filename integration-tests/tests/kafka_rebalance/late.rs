//! An ack for a partition that another member has by then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use zephcast::kafka::GroupProtocol;
use zephcast::{Consumer, Delivery, ErrorKind, Event};
use zephcast_core::UnitId;

use super::lab::Lab;
use super::{LEASE, PATIENCE};

const MESSAGES: usize = 200;
/// How long the first member's handlers are waited for.
const DRAIN: Duration = Duration::from_millis(300);

async fn join(lab: &Lab) -> Consumer {
    let builder = lab.client.consumer(&lab.stream).group(&lab.group).lease(LEASE).prefetch(MESSAGES * 2);
    builder.drain(DRAIN).start().await.expect("joins")
}

async fn next(consumer: &mut Consumer) -> Delivery {
    let next = timeout(PATIENCE, consumer.next()).await.expect("a delivery in time");
    next.expect("no end").expect("no permanent error")
}

pub(crate) async fn ack(protocol: GroupProtocol) {
    let lab = Arc::new(Lab::new(protocol, 4).await);
    lab.publish(MESSAGES).await;
    let mut first = join(&lab).await;
    let mut held = Vec::new();
    while held.len() < MESSAGES {
        held.push(next(&mut first).await);
    }
    let mut events = first.events();
    let mut second = join(&lab).await;
    let taken = timeout(PATIENCE, async {
        loop {
            match events.next().await {
                Some(Event::Revoked(units)) if !units.is_empty() => return units,
                Some(_) => {}
                None => panic!("the first member ended"),
            }
        }
    });
    let taken = taken.await.expect("partitions are revoked");
    let again = next(&mut second).await;
    assert!(taken.contains(&again.unit()), "{:?} of {taken:?}", again.unit());
    assert_eq!(lab.committed().await, [0; 4], "nothing was acked");

    // The first member's handlers come to their end, and its acks come too late.
    let (late, own): (Vec<_>, Vec<_>) = held.into_iter().partition(|delivery| taken.contains(&delivery.unit()));
    let again_in_all = late.len();
    assert!(again_in_all > 0);
    for delivery in late {
        assert_eq!(delivery.ack().expect_err("too late").kind(), ErrorKind::LeaseLost);
    }
    for delivery in own {
        delivery.ack().expect("its own");
    }
    first.commit().await.expect("its own");
    unmoved(&lab, &taken).await;
    first.close(Duration::from_secs(10)).await.expect("closes");
    unmoved(&lab, &taken).await;

    again.ack().expect("its own");
    for _ in 1..again_in_all {
        next(&mut second).await.ack().expect("its own");
    }
    second.commit().await.expect("its own");
    assert_eq!(lab.lag().await, 0);
    second.close(Duration::from_secs(10)).await.expect("closes");
}

/// The broker has nothing of these partitions from whoever lost them.
async fn unmoved(lab: &Lab, units: &[UnitId]) {
    let committed = lab.committed().await;
    for unit in units {
        assert_eq!(committed[unit.0 as usize], 0, "the offset of {unit} was moved by who lost it: {committed:?}");
    }
}

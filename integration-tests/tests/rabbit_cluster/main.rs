//! Three nodes of RabbitMQ, of which one dies.

use std::collections::BTreeSet;
use std::time::Duration;

use integration_tests::rabbit_server::{RabbitCluster, RabbitOptions};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use zephcast_rabbit::{Consumer, Message, MessageId, PublishError, Publisher, RabbitConfig, Result};

const WITHIN: Duration = Duration::from_secs(90);
/// How long a queue is there before a node dies: what a younger one has confirmed is not safe at the broker.
const QUEUE_AGE: Duration = Duration::from_secs(7);
/// How many messages are published before and after.
const BEFORE: usize = 200;
const AFTER: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_all_goes_on_when_the_queues_leader_dies() {
    let mut cluster = RabbitCluster::start(3, RabbitOptions::default()).await.expect("three nodes");
    let running = cluster.node(2).ctl(&["cluster_status"]).await.expect("a status");
    assert!((0..3).all(|node| running.contains(&cluster.node(node).name())), "they are one cluster: {running}");

    let client = RabbitConfig::from_url(&cluster.url()).expect("its URL").connect().await.expect("a client");
    let (tell, mut handled) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let mut members = Vec::new();
    for name in ["one", "other"] {
        let consumer = client.consumer("orders").group("billing").member(name).create(true).start().await;
        members.push(tokio::spawn(consume(consumer.expect("a member"), tell.clone(), stopped.clone())));
    }
    drop(tell);
    let declared = Instant::now();
    let publisher = client.publisher("orders").await.expect("a publisher");
    for n in 0..BEFORE {
        publish(&publisher, n).await;
    }
    sleep_until(declared + QUEUE_AGE).await;

    let list = cluster.node(0).ctl(&["list_queues", "--no-table-headers", "name", "leader"]).await.expect("a list");
    let leader = list.lines().find_map(|line| line.strip_prefix("orders.billing\t")).expect("the group's queue");
    let victim = cluster.find(leader).expect("one of ours");
    let load = tokio::spawn(async move {
        for n in BEFORE..BEFORE + AFTER {
            publish(&publisher, n).await;
        }
    });
    let mut seen = BTreeSet::new();
    while seen.len() < BEFORE + AFTER / 4 {
        seen.insert(timeout(WITHIN, handled.recv()).await.expect("in time").expect("the members live"));
    }
    cluster.kill9(victim).expect("killed");
    timeout(WITHIN, load).await.expect("it goes on").expect("each was confirmed");
    while seen.len() < BEFORE + AFTER {
        let number = timeout(WITHIN, handled.recv()).await;
        let number = number.unwrap_or_else(|_| panic!("lost: {:?}", missing(&seen)));
        seen.insert(number.expect("the members live"));
    }
    assert_eq!(missing(&seen), Vec::<usize>::new());

    stop.send_replace(true);
    for member in members {
        member.await.expect("no panic").expect("it left");
    }
    // By the broker's own count, which it brings up to date every few seconds. A member's is not known: the broker goes on
    // counting consumers that were connected to the dead node.
    let left = Instant::now();
    let columns = ["list_queues", "--no-table-headers", "name", "messages"];
    loop {
        let list = cluster.node((victim + 1) % 3).ctl(&columns).await.expect("a list");
        // Hints expire by themselves.
        assert!(list.contains("orders.billing\t"), "the group's queue is there: {list}");
        if list.lines().all(|line| line.ends_with("\t0") || line.contains(".hints\t")) {
            break;
        }
        assert!(left.elapsed() < WITHIN, "nothing is left: {list}");
    }
    let status = client.group_status("orders", "billing").await.expect("a status");
    assert_eq!((status.delayed, status.dead_letters), (Some(0), Some(0)), "{status:?}");
    client.close(WITHIN).await.expect("closed");
}

fn missing(seen: &BTreeSet<usize>) -> Vec<usize> {
    (0..BEFORE + AFTER).filter(|number| !seen.contains(number)).collect()
}

/// Publishes until it is confirmed, with one id.
async fn publish(publisher: &Publisher, number: usize) {
    let message = || Message::new(number.to_string()).with_id(MessageId::new(format!("m{number}")));
    timeout(WITHIN, async {
        while let Err(error) = publisher.publish(message()).await {
            assert!(matches!(error, PublishError::Unknown(_)), "nothing fails for certain: {error:?}");
        }
    })
    .await
    .expect("confirmed in time");
}

async fn consume(
    mut consumer: Consumer,
    handled: mpsc::UnboundedSender<usize>,
    mut stopped: watch::Receiver<bool>,
) -> Result<()> {
    loop {
        let delivery = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { break };
        let delivery = delivery?;
        let number = delivery.payload_str()?.parse().expect("a number");
        delivery.ack()?;
        // Whoever counts may have seen enough.
        let _ = handled.send(number);
    }
    consumer.close(WITHIN).await.map(drop)
}

//! Whoever leaves is gone at once: who comes after it need not wait until its session runs out.

mod asked;
mod outage;

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use zephcast_kafka::{Client, Consumer, ErrorKind, Event, GroupProtocol, KafkaConfig, StreamSpec};

/// Far less than a session, far more than a rebalance.
const SOON: Duration = Duration::from_secs(10);

/// A client, and a stream of its own.
async fn lab(settings: impl FnOnce(KafkaConfig) -> KafkaConfig) -> (Client, String) {
    let url = std::env::var("ZEPHCAST_TEST_KAFKA_URL").expect("set ZEPHCAST_TEST_KAFKA_URL to a Kafka for tests");
    let config = KafkaConfig::from_url(&url).expect("ZEPHCAST_TEST_KAFKA_URL is a URL of Kafka");
    let client = settings(config).connect().await.expect("the broker answers");
    let name = format!("leaving-{:016x}", fastrand::u64(..));
    let spec = StreamSpec::new(name.parse().expect("a name"));
    client.admin().create_stream(&spec).await.expect("a stream");
    (client, name)
}

/// A stream has one partition, so one of two members has none.
#[tokio::test]
async fn a_member_that_has_nothing_is_not_waited_for_when_it_left() {
    let (client, name) = lab(|config| config).await;
    let join = async || client.consumer(&name).group(&name).start().await.expect("a member");
    // Before the group knows of both, while it distributes, and once it is settled.
    for pause in [0, 20, 100, 300, 1_000, 2_000] {
        let members = [join().await, join().await];
        sleep(Duration::from_millis(pause)).await;
        let reports = join_all(members.map(|member| member.close(SOON))).await;
        assert!(reports.iter().all(|report| report.as_ref().is_ok_and(|report| report.clean)), "{reports:?}");
        let mut next = join().await;
        let assigned = timeout(SOON, assigned(&mut next)).await;
        assert!(assigned.is_ok(), "after {pause} ms: who comes next has nothing after {SOON:?}");
        next.close(SOON).await.expect("it leaves");
    }
    client.admin().delete_stream(&name.parse().expect("a name")).await.expect("deleted");
}

/// After the fatal error of who was fenced nothing of the library can be waited for.
#[tokio::test]
async fn a_static_member_whose_name_another_one_took_is_told_and_closes_at_once() {
    let (client, name) = lab(|config| config.static_membership(true)).await;
    let join = async || client.consumer(&name).group(&name).member("twin").start().await.expect("a member");
    let mut earlier = join().await;
    timeout(SOON, assigned(&mut earlier)).await.expect("it has the partition");
    let later = join().await;
    let told = timeout(SOON, earlier.next()).await.expect("it is told");
    assert_eq!(told.expect("not without a reason").expect_err("no delivery").kind(), ErrorKind::Conflict);
    timeout(SOON, earlier.close(SOON * 2)).await.expect("nothing holds it up").expect("it closes");
    later.close(SOON).await.expect("it leaves");
    client.admin().delete_stream(&name.parse().expect("a name")).await.expect("deleted");
}

/// The broker refuses the later one as long as the earlier one is known to it, as one that died is until its session ends.
#[tokio::test]
async fn by_the_newer_protocol_a_static_member_waits_until_its_name_is_free() {
    let protocol = |config: KafkaConfig| config.static_membership(true).group_protocol(GroupProtocol::Consumer);
    let (client, name) = lab(protocol).await;
    let join = async || client.consumer(&name).group(&name).member("twin").start().await.expect("a member");
    let mut earlier = join().await;
    timeout(SOON, assigned(&mut earlier)).await.expect("it has the partition");
    let mut later = join().await;
    let mut events = later.events();
    let told = async {
        loop {
            if let Event::Disconnected(reason) = events.next().await.expect("no end") {
                return reason.to_string();
            }
        }
    };
    let reason = timeout(SOON, told).await.expect("it is told why it waits");
    assert!(reason.contains("\"twin\" is kept for the member that had it"), "{reason}");
    earlier.close(SOON).await.expect("it leaves");
    timeout(SOON, assigned(&mut later)).await.expect("it has the name, and the partition");
    later.close(SOON).await.expect("it leaves");
    client.admin().delete_stream(&name.parse().expect("a name")).await.expect("deleted");
}

async fn assigned(consumer: &mut Consumer) {
    let mut events = consumer.events();
    loop {
        tokio::select! {
            event = events.next() => if matches!(event.expect("no end"), Event::Assigned(_)) {
                return;
            },
            delivery = consumer.next() => panic!("nothing was published: {delivery:?}"),
        }
    }
}

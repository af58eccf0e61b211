//! Whoever leaves is gone at once: who comes after it need not wait until its session runs out.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use zephcast_kafka::{Consumer, Event, KafkaConfig, StreamSpec};

/// Far less than a session, far more than a rebalance.
const SOON: Duration = Duration::from_secs(10);

/// A stream has one partition, so one of two members has none.
#[tokio::test]
async fn a_member_that_has_nothing_is_not_waited_for_when_it_left() {
    let url = std::env::var("ZEPHCAST_TEST_KAFKA_URL").expect("set ZEPHCAST_TEST_KAFKA_URL to a Kafka for tests");
    let config = KafkaConfig::from_url(&url).expect("ZEPHCAST_TEST_KAFKA_URL is a URL of Kafka");
    let client = config.connect().await.expect("the broker answers");
    let name = format!("leaving-{:016x}", fastrand::u64(..));
    let spec = StreamSpec::new(name.parse().expect("a name"));
    client.admin().create_stream(&spec).await.expect("a stream");
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
    client.admin().delete_stream(&spec.stream).await.expect("deleted");
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

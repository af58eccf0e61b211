//! What the tests share: a server for those that leave it as it is, and waiting for what must come.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use integration_tests::proxy::Proxy;
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use tokio::sync::Mutex;
use tokio::time::Instant;
use zephcast::{Client, Consumer, Delivery, Event, Events};

/// The shortest that matters: a heartbeat is counted in seconds, and a lease is two.
pub(crate) const LEASE: Duration = Duration::from_secs(4);
/// The largest message that the shared server takes.
pub(crate) const MOST: usize = 2_000_000;
/// The longest that anything awaited here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const GROUP: &str = "all";

static SHARED: Mutex<Weak<RabbitServer>> = Mutex::const_new(Weak::new());

/// The server of all tests that do it no harm, which lives while any of them runs.
pub(crate) async fn shared() -> Arc<RabbitServer> {
    let mut shared = SHARED.lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let options = RabbitOptions::default().setting("max_message_size", MOST);
    let server = Arc::new(RabbitServer::start(options).await.expect("RabbitMQ starts"));
    *shared = Arc::downgrade(&server);
    server
}

/// A server of the test's own.
pub(crate) async fn private() -> RabbitServer {
    RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts")
}

pub(crate) async fn connect(server: &RabbitServer) -> Client {
    zephcast::connect(&server.url()).await.expect("connects")
}

/// What publishers of a stream publish to is gone.
pub(crate) async fn delete_exchange(server: &RabbitServer, name: &str) {
    let resource = format!(r#"rabbit_misc:r(<<"/">>, exchange, <<"{name}">>)"#);
    server
        .ctl(&["eval", &format!(r#"rabbit_exchange:delete({resource}, false, <<"test">>)."#)])
        .await
        .expect("deletes");
}

/// A client whose network can be made bad.
pub(crate) async fn connect_by_proxy(server: &RabbitServer) -> (Proxy, Client) {
    let proxy = Proxy::start(server.addr()).await.expect("a proxy");
    let client = zephcast::connect(&format!("amqp://guest:guest@{}/%2f", proxy.addr())).await.expect("connects");
    (proxy, client)
}

pub(crate) async fn join(client: &Client, stream: &str, prefetch: usize) -> Consumer {
    let builder = client.consumer(stream).group(GROUP).lease(LEASE).prefetch(prefetch);
    builder.drain(Duration::ZERO).start().await.expect("joins")
}

/// Publishes these numbers, each with a receipt.
pub(crate) async fn publish(client: &Client, stream: &str, numbers: impl Iterator<Item = u32>) {
    let publisher = client.publisher(stream).await.expect("opens");
    let messages = numbers.map(|number| zephcast::Message::new(number.to_string()));
    for outcome in publisher.publish_all(messages).await {
        outcome.expect("is stored");
    }
}

pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("comes in time");
    next.expect("no end").expect("no permanent error")
}

/// So many, none of them settled.
pub(crate) async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(next(consumer).await);
    }
    taken
}

pub(crate) fn number(delivery: &Delivery) -> u32 {
    delivery.payload_str().expect("text").parse().expect("a number")
}

/// Acks what comes until these numbers have all come.
pub(crate) async fn all_come(consumer: &mut Consumer, numbers: impl IntoIterator<Item = u32>) {
    let mut missing: BTreeSet<u32> = numbers.into_iter().collect();
    while !missing.is_empty() {
        let delivery = next(consumer).await;
        missing.remove(&number(&delivery));
        // What came too late comes again.
        let _ = delivery.ack();
    }
    consumer.commit().await.expect("is settled");
}

/// Waits for an event.
pub(crate) async fn hears(events: &mut Events, is_it: impl Fn(&Event) -> bool) -> Event {
    let heard = async {
        loop {
            let event = events.next().await.expect("the member lives");
            if is_it(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("is told in time")
}

/// Waits until these are no longer their member's.
pub(crate) async fn lost(held: &[Delivery]) {
    for delivery in held {
        tokio::time::timeout(PATIENCE, delivery.lost()).await.expect("is lost in time");
    }
}

/// Nobody takes a settlement of these.
pub(crate) async fn refuses(held: Vec<Delivery>) {
    for delivery in held {
        let late = delivery.ack_confirmed().await.expect_err("came too late");
        assert_eq!(late.kind(), zephcast::ErrorKind::LeaseLost, "{late}");
    }
}

/// Waits until of a stream's group no queue but these has messages, as `NAME\tCOUNT` by the server's own count, which it
/// takes each second.
pub(crate) async fn left(server: &RabbitServer, stream: &str, expected: &[String]) {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let left = counted(server, stream).await;
        if left == expected {
            return;
        }
        assert!(Instant::now() < until, "{left:?} are left, and not {expected:?}");
    }
}

async fn counted(server: &RabbitServer, stream: &str) -> Vec<String> {
    let listed = server.ctl(&["list_queues", "--no-table-headers", "name", "messages"]).await.expect("lists");
    let of_group = |line: &&str| line.starts_with(&format!("{stream}.{GROUP}")) && !line.ends_with("\t0");
    listed.lines().filter(of_group).filter(|line| !line.contains(".hints")).map(str::to_owned).collect()
}

/// How many messages were suspects, by the server's own count of what it took for their queue.
pub(crate) async fn suspects(server: &RabbitServer, stream: &str) -> u32 {
    let queue = format!("{stream}.{GROUP}.suspects");
    let sum = format!(
        "io:format(\"~b\", [lists:sum([Count || {{{{_, {{{{resource, _, queue, <<\"{queue}\">>}}, _}}}}, Count, _}} \
         <- ets:tab2list(channel_queue_exchange_metrics)])])."
    );
    let said = server.ctl(&["eval", &sum]).await.expect("counts");
    let count = said.split_once("ok").map_or("", |(count, _)| count);
    count.trim().parse().unwrap_or_else(|_| panic!("no count: {said}"))
}

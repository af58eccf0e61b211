//! On a real server: whatever is published at the same time, each outcome is that of its own message.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::proxy::{Direction, Proxy};
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString};

use super::*;
use crate::RabbitConfig;
use crate::errand::Errand;
use crate::topology;

const TASKS: usize = 8;
const EACH: usize = 5_000;
const BATCH: usize = 50;

async fn server() -> (RabbitServer, Arc<Connection>) {
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let config = RabbitConfig::from_url(&server.url()).unwrap();
    (server, Arc::new(Connection::new(Arc::new(config), "test")))
}

async fn declare(connection: &Connection, name: &str, arguments: &[(&str, AMQPValue)]) {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    let errand = Errand::begin(connection, "declare").await.unwrap();
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    errand.call(errand.channel().queue_declare(name.into(), options, table)).await.unwrap();
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

fn message(queue: &str, id: usize, size: usize) -> Outgoing {
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(format!("m-{id}").into());
    Outgoing::to_queue(queue, properties, vec![b'x'; size])
}

/// To which queue a message goes, and what must become of it there.
fn fate(number: usize) -> (&'static str, &'static str) {
    match number % 1_000 {
        7 => ("full", "Refused"),
        // So many that the client library gives several of them to others' confirms.
        number if number % 10 > 6 => ("nowhere", "Unroutable"),
        _ => ("taken", "Stored"),
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Stored => "Stored",
        Outcome::Unroutable => "Unroutable",
        Outcome::Refused => "Refused",
        Outcome::NotSent => "NotSent",
        Outcome::Bad(_) => "Bad",
        Outcome::Unknown(_) => "Unknown",
        Outcome::Late => "Late",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_40_000_messages_of_eight_tasks_each_has_its_own_outcome() {
    let (_server, connection) = server().await;
    declare(&connection, "taken", &[("x-queue-type", text("quorum"))]).await;
    let full = [("x-max-length", AMQPValue::LongInt(1)), ("x-overflow", text("reject-publish"))];
    declare(&connection, "full", &full).await;
    let lane = Arc::new(Lane::open(&connection, "test").await.unwrap());
    assert_eq!(name(&lane.publish(vec![message("full", 0, 1)]).await.unwrap()[0]), "Stored");

    let tasks = (0..TASKS).map(|task| {
        let lane = lane.clone();
        tokio::spawn(async move {
            let mut wrong = Vec::new();
            for first in (0..EACH).step_by(BATCH) {
                let numbers = (first..first + BATCH).map(|n| task * EACH + n);
                let messages = numbers.clone().map(|number| message(fate(number).0, number, 20));
                let outcomes = lane.publish(messages.collect()).await.unwrap();
                let told = numbers.zip(outcomes).map(|(number, outcome)| (number, fate(number).1, name(&outcome)));
                wrong.extend(told.filter(|(_, expected, told)| expected != told));
            }
            wrong
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), []);
    }
    let stored = (0..TASKS * EACH).filter(|number| fate(*number).1 == "Stored").count() as u64;
    assert_eq!(topology::queue(&connection, "test", "taken").await.unwrap(), Some((stored, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_fails_alone() {
    let (_server, connection) = server().await;
    declare(&connection, "taken", &[]).await;
    let lane = Lane::open(&connection, "test").await.unwrap();
    // The limit of 3.10, and less than that of any later one.
    let messages = vec![message("taken", 1, 10), message("taken", 2, 128 * 1024 * 1024 + 1), message("taken", 3, 10)];
    let outcomes = lane.publish(messages).await.unwrap();
    assert_eq!(name(&outcomes[0]), "Stored");
    assert_eq!(name(&outcomes[1]), "Bad");
    assert_eq!(name(&outcomes[2]), "Stored", "by the next channel");
    assert_eq!(topology::queue(&connection, "test", "taken").await.unwrap(), Some((2, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_the_server_takes_is_found_among_others() {
    const MOST: usize = 100_000;
    let options = RabbitOptions::default().setting("max_message_size", MOST);
    let server = RabbitServer::start(options).await.unwrap();
    let config = RabbitConfig::from_url(&server.url()).unwrap();
    let connection = Arc::new(Connection::new(Arc::new(config), "test"));
    declare(&connection, "taken", &[]).await;
    let published = async |sizes: &[usize]| {
        let lane = Lane::open(&connection, "test").await.unwrap();
        let messages = sizes.iter().enumerate().map(|(id, size)| message("taken", id, *size));
        let outcomes = lane.publish(messages.collect()).await.unwrap();
        outcomes.iter().map(name).collect::<Vec<_>>()
    };
    let before = ["Stored", "Unknown"];
    let outcomes = published(&[MOST, 10, MOST + 1, 10, MOST + 1]).await;
    assert!(outcomes[..2].iter().all(|outcome| before.contains(outcome)), "{outcomes:?}");
    assert_eq!(outcomes[2..], ["Bad", "NotSent", "NotSent"]);
    // Now that the limit is known, nobody else is hit.
    assert_eq!(published(&[MOST, 10, MOST + 1, 10]).await, ["Stored", "Stored", "Bad", "Stored"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_in_the_name_of_another_fails_alone() {
    let (_server, connection) = server().await;
    declare(&connection, "taken", &[]).await;
    let lane = Lane::open(&connection, "test").await.unwrap();
    let by = |id, user: &str| {
        let plain = message("taken", id, 10);
        Outgoing { properties: plain.properties.with_user_id(user.into()), ..plain }
    };
    // More than an engine would have patience for, if each were an outage.
    const EACH: usize = 20;
    let messages = (0..EACH).flat_map(|n| [by(3 * n, "guest"), message("taken", 3 * n + 1, 10), by(3 * n + 2, "bob")]);
    let outcomes = lane.publish(messages.collect());
    let behind_it = lane.publish(vec![message("taken", 3 * EACH, 10)]);
    let outcomes = outcomes.await.unwrap();
    assert_eq!(outcomes.iter().map(name).collect::<Vec<_>>(), ["Stored", "Stored", "Bad"].repeat(EACH));
    assert_eq!(name(&behind_it.await.unwrap()[0]), "Stored");
    assert_eq!(name(&lane.publish(vec![message("taken", 3 * EACH + 1, 10)]).await.unwrap()[0]), "Stored", "also later");
    assert_eq!(topology::queue(&connection, "test", "taken").await.unwrap(), Some((2 * EACH as u64 + 2, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_overtakes_by_a_new_channel_what_another_message_cost_its_turn() {
    const MOST: usize = 100_000;
    let options = RabbitOptions::default().setting("max_message_size", MOST);
    let server = RabbitServer::start(options).await.unwrap();
    let config = RabbitConfig::from_url(&server.url()).unwrap();
    let connection = Arc::new(Connection::new(Arc::new(config), "test"));
    declare(&connection, "taken", &[]).await;
    let lane = Lane::open(&connection, "test").await.unwrap();
    let alone = message("taken", 3, 10);
    let alone = Outgoing { properties: alone.properties.clone().with_user_id("bob".into()), ..alone };
    let messages = vec![message("taken", 1, MOST + 1), message("taken", 2, 10), alone, message("taken", 4, 10)];
    let outcomes = lane.publish(messages).await.unwrap();
    assert_eq!(outcomes.iter().map(name).collect::<Vec<_>>(), ["Bad", "NotSent", "NotSent", "NotSent"]);
    assert_eq!(name(&lane.publish(vec![message("taken", 5, 10)]).await.unwrap()[0]), "NotSent");
    assert_eq!(topology::queue(&connection, "test", "taken").await.unwrap(), Some((0, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_blocked_holds_up_publishes_and_no_acks() {
    use lapin::options::{BasicAckOptions, BasicGetOptions, BasicQosOptions};

    let (server, publishing) = server().await;
    let consuming = publishing.another("consumer", Duration::from_secs(10));
    declare(&publishing, "taken", &[]).await;
    let lane = Lane::open(&publishing, "test").await.unwrap();
    lane.publish(vec![message("taken", 1, 10)]).await.unwrap();
    let errand = Errand::begin(&consuming, "test").await.unwrap();
    let got = errand.call(errand.channel().basic_get("taken".into(), BasicGetOptions::default())).await.unwrap();
    let tag = got.expect("a message").delivery.delivery_tag;

    server.raise_memory_alarm().await.unwrap();
    let mut held = lane.publish(vec![message("taken", 2, 10)]);
    // The server says so once something is published.
    let until_blocked = async {
        while lane.blocked().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), until_blocked).await.expect("blocked");
    assert!(publishing.trouble("test").is_some_and(|error| error.kind() == zephcast_core::ErrorKind::Blocked));
    let acked = async {
        errand.call(errand.channel().basic_ack(tag, BasicAckOptions::default())).await.unwrap();
        errand.call(errand.channel().basic_qos(1, BasicQosOptions::default())).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(5), acked).await.expect("an ack goes on, on a connection of its own");
    assert!(held.try_recv().is_err(), "nothing is stored meanwhile");
    server.clear_memory_alarm().await.unwrap();
    let outcomes = tokio::time::timeout(Duration::from_secs(30), held).await.expect("an end of it").unwrap();
    assert_eq!(name(&outcomes[0]), "Stored");
}

/// A way to the server that can be made bad, and a connection by it with this request timeout.
async fn by_proxy(timeout: Duration) -> (RabbitServer, Proxy, Arc<Connection>) {
    // Later versions take less, unless they are told to.
    let options = RabbitOptions::default().setting("max_message_size", 128 << 20);
    let server = RabbitServer::start(options).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let url = format!("amqp://guest:guest@{}/%2f?heartbeat=60", proxy.addr());
    let config = RabbitConfig::from_url(&url).unwrap().request_timeout(timeout);
    (server, proxy, Arc::new(Connection::new(Arc::new(config), "test")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_confirms_is_given_up_though_nobody_waits() {
    let (_server, proxy, connection) = by_proxy(Duration::from_secs(1)).await;
    declare(&connection, "taken", &[]).await;
    let lane = Arc::new(Lane::open(&connection, "test").await.unwrap());
    assert_eq!(name(&lane.publish(vec![message("taken", 1, 10)]).await.unwrap()[0]), "Stored");
    proxy.set_hold(&[Direction::FromServer]);
    drop(lane.publish(vec![message("taken", 2, 10)]));
    // The large one waits for those before it.
    let waiting = lane.publish(vec![message("taken", 3, 10), message("taken", 4, LARGE + 1), message("taken", 5, 10)]);
    let behind = lane.publish(vec![message("taken", 6, 10)]);
    tokio::time::timeout(Duration::from_secs(5), lane.finished()).await.expect("an end of it");
    assert!(lane.is_over() && lane.link.upgrade().is_none());
    assert_eq!(waiting.await.unwrap().iter().map(name).collect::<Vec<_>>(), ["Late", "NotSent", "NotSent"]);
    assert_eq!(behind.await.unwrap().iter().map(name).collect::<Vec<_>>(), ["NotSent"]);
    proxy.heal();
    let next = Lane::open(&connection, "test").await.unwrap();
    let outcomes = next.publish(vec![message("taken", 7, 10)]).await.unwrap();
    assert_eq!(outcomes.iter().map(name).collect::<Vec<_>>(), ["Stored"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_that_is_not_confirmed_is_given_up_alone() {
    let (_server, proxy, connection) = by_proxy(Duration::from_secs(1)).await;
    declare(&connection, "taken", &[]).await;
    let lane = Lane::open(&connection, "test").await.unwrap();
    proxy.set_hold(&[Direction::FromServer]);
    let outcomes = lane.publish(vec![message("taken", 1, LARGE + 1), message("taken", 2, 10)]);
    let outcomes = tokio::time::timeout(Duration::from_secs(5), outcomes).await.expect("an end of it").unwrap();
    assert_eq!(outcomes.iter().map(name).collect::<Vec<_>>(), ["Late", "NotSent"]);
    assert!(lane.link.upgrade().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_have_to_publish_holds_nobody_up() {
    const BYTES_A_SECOND: u32 = 8 * 1024 * 1024;
    /// More by far than a socket takes in advance.
    const SECONDS: usize = 5;
    const EACH: usize = 64 * 1024;
    let (_server, proxy, connection) = by_proxy(Duration::from_millis(2_500)).await;
    declare(&connection, "taken", &[]).await;
    let (busy, other) = (Lane::open(&connection, "a").await.unwrap(), Lane::open(&connection, "b").await.unwrap());
    proxy.set_bandwidth(Some(BYTES_A_SECOND));
    let count = SECONDS * BYTES_A_SECOND as usize / EACH;
    let much = busy.publish((0..count).map(|id| message("taken", id, EACH)).collect());
    // Once the client library has all that it is going to have of it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let outcomes = other.publish(vec![message("taken", count, 10)]).await.unwrap();
    assert_eq!(outcomes.iter().map(name).collect::<Vec<_>>(), ["Stored"]);
    let outcomes = much.await.unwrap();
    assert!(outcomes.iter().all(|outcome| name(outcome) == "Stored"));
    assert!(!busy.is_over());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_message_may_take_as_long_as_the_line_takes_something_of_it() {
    const TIMEOUT: Duration = Duration::from_millis(2_500);
    const BYTES_A_SECOND: u32 = 8 * 1024 * 1024;
    /// So much has passed the line after the timeout, and by far not all is written by then, though sockets take some in
    /// advance.
    const LONG: u64 = 3 * BYTES_A_SECOND as u64;
    const HUGE: usize = 6 * BYTES_A_SECOND as usize;
    let (_server, proxy, connection) = by_proxy(TIMEOUT).await;
    declare(&connection, "taken", &[]).await;
    let lane = Lane::open(&connection, "test").await.unwrap();
    proxy.set_bandwidth(Some(BYTES_A_SECOND));
    let messages = vec![message("taken", 1, LARGE + 1), message("taken", 2, HUGE), message("taken", 3, 10)];
    let outcomes = lane.publish(messages);
    proxy.until(|seen| seen.from_client > LONG || seen.open == 0).await;
    proxy.heal();
    let outcomes = outcomes.await.unwrap();
    assert_eq!(outcomes.iter().map(name).collect::<Vec<_>>(), ["Stored", "Stored", "Stored"]);

    proxy.set_hold(&[Direction::FromClient]);
    let stuck = lane.publish(vec![message("taken", 4, HUGE)]);
    let outcomes = tokio::time::timeout(4 * TIMEOUT, stuck).await.expect("an end of it").unwrap();
    assert_eq!(outcomes.iter().map(name).collect::<Vec<_>>(), ["Late"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_given_up_holds_nothing_up_though_it_is_blocked() {
    let (server, proxy, connection) = by_proxy(Duration::from_secs(3)).await;
    declare(&connection, "taken", &[]).await;
    server.raise_memory_alarm().await.unwrap();
    for is_blocked_first in [false, true] {
        let mut blocking = connection.blocking();
        let mut until_blocked = async || drop(blocking.wait_for(Option::is_some).await.unwrap());
        let lane = Lane::open(&connection, "test").await.unwrap();
        let link = connection.link("test").await.unwrap();
        if !is_blocked_first {
            proxy.set_hold(&[Direction::FromServer]);
        }
        // The server may take the first one still.
        let outcomes = lane.publish(vec![message("taken", 1, 10), message("taken", 2, 10)]);
        if is_blocked_first {
            until_blocked().await;
        }
        connection.give_up(&link);
        drop(link);
        proxy.heal();
        until_blocked().await;
        let outcomes = tokio::time::timeout(Duration::from_secs(10), outcomes).await.expect("an end of it").unwrap();
        assert_eq!(name(&outcomes[1]), "Late");
        assert!(lane.link.upgrade().is_none());
    }
}

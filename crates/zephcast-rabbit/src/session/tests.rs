//! On a real server: a session is looked at while it lives.

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeleteOptions};
use zephcast_core::driver::Fetched;

use super::*;
use crate::RabbitConfig;
use crate::lab::{Lab, NORMAL, PATIENCE, until};

/// A session that no member has, of a group with so many messages: their numbers.
async fn alone(lab: &Lab, prefetch: u16, messages: usize) -> Session {
    let config = Arc::new(RabbitConfig::from_url(&lab.server.url()).unwrap());
    let names = Names::new(&config, &"s".parse().unwrap(), &"g".parse().unwrap()).unwrap();
    let connection = Connection::new(config.clone(), "test");
    topology::group(&connection, None, "test", &config, &names, true, None).await.unwrap();
    let channel = lab.channel().await;
    for number in 0..messages {
        let (options, payload) = (BasicPublishOptions::default(), number.to_string());
        let published =
            channel.basic_publish("".into(), "s.g".into(), options, payload.as_bytes(), BasicProperties::default());
        published.await.unwrap();
    }
    Session::open(&connection, "test", &names, "tag", prefetch, 1).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_at_it_from_several_sides_at_once_holds_nobody_up() {
    const LOOKS: usize = 100_000;
    let lab = Lab::start().await;
    let session = Arc::new(alone(&lab, 10, 0).await);
    let looks: [fn(&Session); 3] = [
        |session| assert_eq!(session.census().in_flight, 0),
        |session| assert!(!session.is_full()),
        |session| assert!(!session.holds_any()),
    ];
    let looking = looks.map(|look| {
        let session = session.clone();
        let (done, is_done) = tokio::sync::oneshot::channel();
        // Nobody waits for its end if it has none.
        std::thread::spawn(move || {
            (0..LOOKS).for_each(|_| look(&session));
            done.send(())
        });
        is_done
    });
    let all = futures_util::future::try_join_all(looking);
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("nobody waits for ever").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_leaves_no_channel_and_no_queue_behind() {
    let lab = Lab::start().await;
    let mut member = lab.join().await;
    let connection = lab.connection_of_member().await;
    let left = async || {
        let queues = lab.server.ctl(&["list_queues", "--no-table-headers", "name"]).await.unwrap();
        let channels = lab.server.ctl(&["list_channels", "--no-table-headers", "connection"]).await.unwrap();
        let queues = queues.lines().filter(|name| name.starts_with("amq.gen")).count();
        (queues, channels.lines().filter(|pid| *pid == connection).count())
    };
    let begun = left().await;
    assert_eq!(begun.0, 1, "where it is asked");
    for _ in 0..3 {
        lab.channel().await.queue_delete("s.g".into(), QueueDeleteOptions::default()).await.unwrap();
        until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Lost(_))).await;
        until(&mut member, NORMAL, |fetched| matches!(fetched, Fetched::Assigned(_))).await;
    }
    let gone = async { while left().await != begun {} };
    if tokio::time::timeout(Duration::from_secs(10), gone).await.is_err() {
        assert_eq!(left().await, begun);
    }
    assert_eq!(lab.connection_of_member().await, connection, "it lives");
    // The session that there is answers: of others nobody knows a lease.
    let answers = async { while lab.status().await.members.iter().all(|member| member.lease.is_none()) {} };
    tokio::time::timeout(PATIENCE, answers).await.expect("answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_while_settlements_passed_through_the_log_goes_back_in_order() {
    const PREFETCH: u16 = 10;
    const ALL: usize = 20;
    let lab = Lab::start().await;
    let session = alone(&lab, PREFETCH, ALL).await;
    let fill = async || {
        while !session.is_full() {
            session.look();
            tokio::task::yield_now().await;
        }
    };
    let ack_first = async || {
        tokio::time::timeout(PATIENCE, fill()).await.expect("comes in time");
        let first = session.held().iter().next().map(|(tag, _)| tag).unwrap();
        session.ack(first).await;
    };
    ack_first().await;
    session.sync_messages().await.unwrap();
    let passing = session.held().iter().filter(|(_, held)| held.consumer == window::PASSING).count();
    assert_eq!(passing, 1, "one came on the way");
    // Newer ones come after it.
    ack_first().await;
    tokio::time::timeout(PATIENCE, fill()).await.expect("comes in time");

    session.give_back_in_order().await.unwrap();
    session.close(PATIENCE).await.unwrap();
    let (channel, mut left) = (lab.channel().await, Vec::new());
    while let Some(message) = channel.basic_get("s.g".into(), BasicGetOptions { no_ack: true }).await.unwrap() {
        left.push(String::from_utf8(message.delivery.data).unwrap());
    }
    let expected: Vec<String> = (2..ALL).map(|number| number.to_string()).collect();
    assert_eq!(left, expected);
}

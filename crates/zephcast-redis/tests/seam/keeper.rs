//! Taking over and redelivery go on, or it is said that they do not.

use crate::log;
use crate::prelude::*;
use crate::settle::later;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_does_not_hold_up_the_others() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("put-off");
    let delayed = format!("{{{stream}}}.g.delayed");
    log::listen();
    let spoil = |lua: &str| server.cli(&["EVAL", lua, "1", &delayed]);
    spoil("local t = {} for i = 1, 8002 do t[i] = 'x' end redis.call('ZADD', KEYS[1], 1, cmsgpack.pack(t))");
    spoil("redis.call('ZADD', KEYS[1], 2, cmsgpack.pack({'odd'}))");
    spoil("redis.call('ZADD', KEYS[1], 3, 'no message')");
    spoil("redis.call('ZADD', KEYS[1], 4, cmsgpack.pack({'a', {}}))");
    publish(&driver, &stream, &messages(1)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let received = member.receive(1).await;
    member.other(&received[0], later(&received[0], Duration::from_millis(50), 1)).await;
    assert_eq!(member.receive(1).await[0].attempt, 2);
    assert_eq!(server.cli(&["ZCARD", &delayed]), "4", "nothing is thrown away");
    log::said(&[&delayed, "put_off=4"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_fails_is_said_and_said_again_each_lease() {
    let server = Server::own(&[]);
    log::listen();
    let user = ["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all"];
    assert_eq!(server.cli(&user), "OK");
    let driver = RedisDriver::connect(server.config().user("app").password("pw")).await.unwrap();
    let stream = unique_stream("looks-fail");
    let member = Joined::new(&driver, &stream, "a").await;
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "-xinfo|consumers"]), "OK");
    let began = Instant::now();
    let parts = [stream.as_str(), "nobody is taken over from"];
    while log::lines_with(&parts) < 2 {
        assert!(began.elapsed() < Duration::from_secs(10), "said {} times", log::lines_with(&parts));
        member.renew(&[]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(log::lines_with(&parts) as u32 <= 1 + began.elapsed().as_secs() as u32, "more than once a lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_nobody_else_needs_comes_back() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("control");
    publish(&driver, &stream, &messages(1)).await;
    let mut member = Joined::with(&driver, &stream, |s| s.lease = Duration::from_secs(60)).await;
    let received = member.receive(1).await;
    member.other(&received[0], later(&received[0], Duration::from_millis(700), 1)).await;
    let mut receiving = tokio::spawn(async move { member.receive(1).await });
    let is_control = |line: &&str| line.contains("cmd=evalsha") || line.contains("cmd=eval ");
    let clients = server.cli(&["CLIENT", "LIST"]);
    for line in clients.lines().filter(is_control) {
        let id = line.split_whitespace().find_map(|word| word.strip_prefix("id=")).unwrap();
        assert_eq!(server.cli(&["CLIENT", "KILL", "ID", id]), "1");
    }
    let received = tokio::time::timeout(Duration::from_secs(6), &mut receiving).await;
    assert_eq!(received.expect("it is due after 0.7 s").unwrap()[0].attempt, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_without_an_end_harm_nobody() {
    let server = Server::any();
    let config = server.config().connect_timeout(Duration::MAX).command_timeout(Duration::MAX);
    let driver = RedisDriver::connect(config).await.unwrap();
    let stream = unique_stream("endless");
    publish(&driver, &stream, &messages(2)).await;
    let mut member = Joined::with(&driver, &stream, |s| s.lease = Duration::MAX).await;
    let received = member.receive(2).await;
    assert!(member.other(&received[0], later(&received[0], Duration::MAX, 1)).await.is_empty());
    assert!(member.renew(&received[1..]).await.is_empty());
    assert!(member.other(&received[1], later(&received[1], Duration::from_millis(50), 1)).await.is_empty());
    assert_eq!(member.receive(1).await[0].attempt, 2, "the keeper lives");
    let status = driver.group_status(&stream, &group()).await.unwrap();
    assert_eq!((status.delayed, status.members[0].state), (Some(1), MemberState::Active));
}

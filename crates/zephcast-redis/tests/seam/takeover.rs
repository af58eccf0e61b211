//! What happens to what a member held: it died, it left, its name came back.

use crate::member::position;
use crate::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_member_held_is_taken_over_one_suspect_at_a_time() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("dead-member");
    publish(&driver, &stream, &messages(5)).await;
    let mut dying = Joined::new(&driver, &stream, "dying").await;
    let held = dying.receive(5).await;
    let mut survivor = Joined::new(&driver, &stream, "survivor").await;
    let died = Instant::now();
    dying.die();
    survivor.told_of_suspects().await;
    assert!(died.elapsed() < Duration::from_secs(4), "{:?}", died.elapsed());
    let mut taken = Vec::new();
    while let Some(suspect) = survivor.suspect().await {
        assert_eq!((suspect.attempt, suspect.suspect), (2, true));
        let pending = server.cli(&["XPENDING", stream.as_str(), "g", "-", "+", "10", "survivor"]);
        assert_eq!(pending.matches("survivor").count(), 1, "one at a time: {pending}");
        assert!(survivor.ack(std::slice::from_ref(&suspect)).await.is_empty());
        taken.push(suspect.token);
    }
    assert_eq!(taken, held.iter().map(|incoming| incoming.token).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_unclean_end_counts_for_the_suspect_alone() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("counts");
    publish(&driver, &stream, &messages(4)).await;
    let mut dying = Joined::new(&driver, &stream, "d0").await;
    dying.receive(4).await;
    dying.die();
    let mut innocents = 0;
    for attempt in 2..=4 {
        let mut next = Joined::new(&driver, &stream, &format!("d{attempt}")).await;
        let killer = loop {
            let Some(suspect) = next.suspect().await else {
                next.told_of_suspects().await;
                continue;
            };
            if suspect.message.payload_str().unwrap() == "m0" {
                break suspect;
            }
            assert_eq!(suspect.attempt, 2, "what was beside a killer pays for one end at most");
            next.ack(&[suspect]).await;
            innocents += 1;
        };
        assert_eq!(killer.attempt, attempt);
        next.die();
    }
    assert_eq!(innocents, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_lease_is_kept_and_fresh_messages_flow_beside() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("renewed");
    publish(&driver, &stream, &messages(2)).await;
    let mut slow = Joined::new(&driver, &stream, "slow").await;
    let held = slow.receive(2).await;
    let mut other = Joined::new(&driver, &stream, "other").await;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(slow.renew(&held).await.is_empty());
        publish(&driver, &stream, &[Message::new("fresh")]).await;
        let fresh = other.receive(1).await;
        assert_eq!(fresh[0].message.payload_str().unwrap(), "fresh", "nothing of the slow one");
        assert!(other.ack(&fresh).await.is_empty());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(slow.ack(&held).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_gives_everything_back_at_once_with_its_attempts() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("leaving");
    publish(&driver, &stream, &messages(6)).await;
    let mut leaving = Joined::with(&driver, &stream, |s| s.lease = Duration::from_secs(60)).await;
    let held = leaving.receive(4).await;
    leaving.ack(&held[..1]).await;
    let left = Instant::now();
    // One was tried twice, one never; one more is held and not even named.
    leaving.leave(&[(held[1].token, 2), (held[2].token, 0)]).await;
    let mut next = Joined::new(&driver, &stream, "next").await;
    let mut seen: Vec<_> = next.receive(5).await.iter().map(|i| (i.token, i.attempt, i.suspect)).collect();
    assert!(left.elapsed() < Duration::from_secs(3), "{:?}", left.elapsed());
    seen.sort_unstable();
    let expected = [(held[1].token, 3, false), (held[2].token, 1, false), (held[3].token, 1, false)];
    assert_eq!(seen[..3], expected);
    let consumers = server.cli(&["XINFO", "CONSUMERS", stream.as_str(), "g"]);
    assert_eq!(consumers.lines().filter(|line| line.starts_with("zephcast/")).count(), 1, "{consumers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_comes_back_finds_its_own_as_suspects() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("stable");
    publish(&driver, &stream, &messages(2)).await;
    let mut member = Joined::with(&driver, &stream, |s| {
        s.member = MemberName::new("stable").unwrap();
        s.lease = Duration::from_secs(60);
    })
    .await;
    member.receive(2).await;
    member.die();
    let mut again = Joined::new(&driver, &stream, "stable").await;
    again.told_of_suspects().await;
    for _ in 0..2 {
        let suspect = again.suspect().await.unwrap();
        assert_eq!((suspect.attempt, suspect.suspect), (2, true));
        again.ack(&[suspect]).await;
    }
    assert!(again.suspect().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_members_of_one_name_the_first_is_fenced() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("twins");
    publish(&driver, &stream, &messages(1)).await;
    let mut first = Joined::new(&driver, &stream, "twin").await;
    let held = first.receive(1).await;
    let mut second = Joined::new(&driver, &stream, "twin").await;
    assert_eq!(first.ack(&held).await.len(), 1, "never both");
    assert_eq!(first.renew(&held).await.len(), 1);
    let refused = first.intake.fetch(Credit { messages: 1, bytes: 1, suspect: false }).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    second.told_of_suspects().await;
    let suspect = second.suspect().await.unwrap();
    assert!(second.ack(&[suspect]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_while_pending_is_reported_and_forgotten() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("trimmed");
    publish(&driver, &stream, &messages(3)).await;
    let mut dying = Joined::new(&driver, &stream, "dying").await;
    dying.receive(3).await;
    dying.die();
    server.cli(&["XTRIM", stream.as_str(), "MAXLEN", "1"]);
    let mut survivor = Joined::new(&driver, &stream, "survivor").await;
    let (mut missing, mut left) = (0, 0);
    while missing + left < 3 {
        match survivor.fetch(10).await {
            Fetched::Event(Event::Missing { count, .. }) => missing += count,
            Fetched::Suspects => {
                while let Some(suspect) = survivor.suspect().await {
                    survivor.ack(&[suspect]).await;
                    left += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!((missing, left), (2, 1));
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('0'));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_trimmed_while_it_is_handled_can_still_be_settled() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("trimmed-held");
    publish(&driver, &stream, &messages(2)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let held = member.receive(2).await;
    server.cli(&["XTRIM", stream.as_str(), "MAXLEN", "0"]);
    assert!(member.renew(&held).await.is_empty(), "nobody else can have them");
    assert!(member.ack(&held[..1]).await.is_empty());
    let dead = Disposition::Dead {
        message: Box::new(held[1].message.clone()),
        origin: position(&held[1]),
        published_ms: None,
        attempts: 1,
        failure: crate::member::failure(),
    };
    assert!(member.other(&held[1], dead).await.is_empty());
    let letters = driver.admin().dead_letters(&stream, &group(), None, 10).await.unwrap();
    assert_eq!(letters[0].message.payload_str().unwrap(), "m1");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_members_are_forgotten_only_when_they_hold_nothing() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("forgotten");
    publish(&driver, &stream, &messages(1)).await;
    let mut dying = Joined::with(&driver, &stream, |s| {
        s.member = MemberName::new("dying").unwrap();
        s.lease = Duration::from_millis(300);
    })
    .await;
    dying.receive(1).await;
    dying.die();
    let mut survivor = Joined::new(&driver, &stream, "survivor").await;
    survivor.told_of_suspects().await;
    let until = Instant::now() + Duration::from_secs(15);
    while server.cli(&["XINFO", "CONSUMERS", stream.as_str(), "g"]).contains("dying") {
        assert!(Instant::now() < until, "still known after 50 leases");
        survivor.renew(&[]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(survivor.suspect().await.is_some(), "what it held is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_goes_back_before_a_read_is_waited_for() {
    let server = Server::own(&[]);
    // A user who may not end a read early.
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-client"]), "OK");
    let driver = RedisDriver::connect(server.config().user("app").password("pw")).await.unwrap();
    let stream = unique_stream("leaves-first");
    let long = |s: &mut Subscription| s.lease = Duration::from_secs(60);
    publish(&driver, &stream, &messages(2)).await;
    let mut giver = Joined::with(&driver, &stream, long).await;
    let given = giver.receive(1).await;
    let mut member = Joined::with(&driver, &stream, long).await;
    let held = member.receive(1).await;
    giver.leave(&[(given[0].token, 0)]).await;
    server.cli(&["XDEL", stream.as_str(), &position(&given[0]).to_string()]);
    // Said while a read waits, which goes on waiting.
    assert_eq!(member.told_of_missing().await, 1);
    let began = Instant::now();
    let returned = vec![Returned { unit: UnitId(0), token: held[0].token, attempts: 0 }];
    let left = member.settler.leave(returned, Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let parked = server.cli(&["XPENDING", stream.as_str(), "g", "-", "+", "10", "zephcast/returned"]);
    assert!(parked.contains("zephcast/returned"), "{left:?}, and it is still held: {parked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_takes_what_was_given_back_before_anything_new() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("given-back");
    let positions = publish(&driver, &stream, &messages(6)).await;
    let mut first = Joined::with(&driver, &stream, |_| ()).await;
    let held = first.receive(3).await;
    first.leave(&[(held[0].token, 0), (held[1].token, 0), (held[2].token, 0)]).await;
    // A look at the group could come before the first read, or after it.
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-xinfo|consumers"]), "OK");
    let blind = RedisDriver::connect(server.config().user("app").password("pw")).await.unwrap();
    let mut second = Joined::new(&blind, &stream, "second").await;
    let received: Vec<Position> = second.receive(6).await.iter().map(position).collect();
    assert_eq!(received, positions);
}

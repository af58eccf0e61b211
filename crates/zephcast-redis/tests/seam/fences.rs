//! Whose a delivery is, when names and groups come and go.

use crate::prelude::*;
use crate::settle::later;

/// A member whose namesake came and left in good order, and what it held until then.
async fn outlived_a_namesake(driver: &RedisDriver, stream: &StreamName) -> (Joined, Vec<Incoming>) {
    publish(driver, stream, &messages(2)).await;
    let twin = |s: &mut Subscription| {
        s.member = MemberName::new("twin").expect("a valid name");
        s.lease = Duration::from_secs(60);
    };
    let mut first = Joined::with(driver, stream, twin).await;
    let held = first.receive(2).await;
    Joined::with(driver, stream, twin).await.leave(&[]).await;
    (first, held)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_namesake_came_and_left_nothing_of_it_is_acked() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("outlived");
    let (first, held) = outlived_a_namesake(&driver, &stream).await;
    assert_eq!(first.ack(&held).await.len(), 2, "they wait for another member");
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('2'));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_on_its_way_while_the_member_is_entered_again_touches_nothing_of_others() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("entered-again");
    let (first, held) = outlived_a_namesake(&driver, &stream).await;
    // Makes the member known again; what is acked next was safe by all that the member knew before.
    assert_eq!(first.renew(&held).await.len(), 2);
    assert_eq!(first.ack(&held).await.len(), 2);
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('2'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_goes_back_as_one_until_it_was_tried() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("untried");
    publish(&driver, &stream, &messages(1)).await;
    let mut dying = Joined::new(&driver, &stream, "dying").await;
    let held = dying.receive(1).await;
    // By way of the retry stream, where earlier attempts count too.
    dying.other(&held[0], later(&held[0], Duration::ZERO, 3)).await;
    assert_eq!(dying.receive(1).await[0].attempt, 4);
    dying.die();
    let mut member = Joined::new(&driver, &stream, "member").await;
    member.told_of_suspects().await;
    for tried in [false, false, true] {
        let suspect = member.suspect().await.expect("it is there");
        assert_eq!((suspect.attempt, suspect.suspect), (5, true));
        let attempts = if tried { 5 } else { 4 };
        assert!(member.other(&suspect, Disposition::Return { attempts }).await.is_empty());
    }
    let innocent = member.receive(1).await;
    assert_eq!((innocent[0].attempt, innocent[0].suspect), (6, false));
}

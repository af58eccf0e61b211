//! What is trimmed from the stream while it is held is finished or told, never lost in silence.

use crate::member::dead;
use crate::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_has_can_be_given_up_after_a_trim_and_a_reconnect() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("gone-held");
    publish(&driver, &stream, &messages(2)).await;
    let mut member = Joined::with(&driver, &stream, |s| s.lease = Duration::from_secs(60)).await;
    let held = member.receive(2).await;
    server.cli(&["XTRIM", stream.as_str(), "MAXLEN", "0"]);
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    publish(&*server.driver().await, &stream, &[Message::new("after")]).await;
    let mut after = Vec::new();
    while after.is_empty() {
        match member.intake.fetch(Credit { messages: 10, bytes: 1 << 20, suspect: false }).await {
            Ok(Fetched::Batch(batch)) => after = batch.messages,
            Ok(Fetched::Event(Event::Missing { .. })) => panic!("the handler has them"),
            Ok(_) => {}
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    let all: Vec<_> = held.iter().chain(&after).collect();
    let tokens = all.iter().map(|incoming| incoming.token).collect();
    let renewal = Renewal { held: vec![Held { unit: UnitId(0), tokens }], oldest: None };
    assert!(member.settler.renew(renewal).await.unwrap().is_empty());
    assert!(member.other(&held[0], dead(&held[0])).await.is_empty(), "its content is not thrown away");
    assert!(member.ack(&held[1..]).await.is_empty());
    let letters = driver.admin().dead_letters(&stream, &group(), None, 10).await.unwrap();
    assert_eq!(letters[0].message.payload_str().unwrap(), "m0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrived_and_is_gone_is_told_with_the_next_renewal() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("gone-unseen");
    publish(&driver, &stream, &messages(2)).await;
    let mut member = Joined::with(&driver, &stream, |s| {
        s.member = MemberName::new("member").unwrap();
        s.lease = Duration::from_secs(60);
    })
    .await;
    // As if the answer of its read had been lost.
    server.cli(&["XREADGROUP", "GROUP", "g", "member", "COUNT", "2", "STREAMS", stream.as_str(), ">"]);
    server.cli(&["XTRIM", stream.as_str(), "MAXLEN", "0"]);
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    let settler = member.settler.clone();
    let renewing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(settler.renew(Renewal::default()).await);
        }
    };
    let telling = async {
        loop {
            match member.intake.fetch(Credit { messages: 10, bytes: 1 << 20, suspect: false }).await {
                Ok(Fetched::Event(Event::Missing { count, .. })) => return count,
                Ok(Fetched::Batch(batch)) => panic!("{batch:?} is gone"),
                Ok(_) => {}
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        }
    };
    let told = async {
        tokio::select! { count = telling => count, () = renewing => 0 }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), told).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_back_unhandled_is_told() {
    let server = Server::any();
    let driver = server.driver().await;
    let stream = unique_stream("gone-returned");
    publish(&driver, &stream, &messages(3)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let held = member.receive(3).await;
    server.cli(&["XTRIM", stream.as_str(), "MAXLEN", "0"]);
    // Now it is known which are gone.
    assert!(member.renew(&held).await.is_empty());
    assert!(member.other(&held[0], Disposition::Return { attempts: 1 }).await.is_empty());
    assert_eq!(member.told_of_missing().await, 1);
    crate::log::listen();
    member.leave(&[(held[1].token, 1), (held[2].token, 0)]).await;
    crate::log::said(&[stream.as_str(), "vanished", "count=2"]).await;
}

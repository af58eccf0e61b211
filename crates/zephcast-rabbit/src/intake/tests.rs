//! On a real server: a member that always has something to do.

use std::time::Duration;

use zephcast_core::Message;
use zephcast_core::driver::{Driver, Incoming, Membership, Settlement, UnitSettlements};

use super::*;
use crate::lab::{Lab, NORMAL, SUSPECT, fetch, until};

const FULL: Credit = Credit { messages: 0, ..NORMAL };
const ROOM: Credit = Credit { messages: 1, ..NORMAL };

/// The window is full for as long as a handler works.
async fn handle(member: &mut Membership, messages: Vec<Incoming>) {
    const WORK: Duration = Duration::from_millis(100);
    let work = async {
        tokio::time::sleep(WORK).await;
        member.settler.interrupt();
    };
    let (fetched, ()) = tokio::join!(member.intake.fetch(FULL), work);
    assert!(matches!(fetched, Ok(Fetched::Idle)), "{fetched:?}");
    let acked = messages.iter().map(|incoming| incoming.token).collect();
    let units = vec![UnitSettlements { acked, ..UnitSettlements::new(UNIT) }];
    assert_eq!(member.settler.settle(&Settlement { again: false, units }).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspects_have_their_turn_amid_a_backlog_that_is_handled_slowly() {
    const BACKLOG: usize = 100;
    let lab = Lab::start().await;
    let mut subscription = Lab::subscription();
    subscription.prefetch = 4;
    let mut member = lab.driver.join(subscription).await.unwrap();
    let sink = lab.driver.open_sink(&"s".parse().unwrap(), false).await.unwrap();
    let backlog = vec![Message::new("x"); BACKLOG];
    assert!(sink.publish(&backlog).await.iter().all(Result::is_ok));
    let came = until(&mut member, ROOM, |fetched| matches!(fetched, Fetched::Batch(_))).await;
    let Fetched::Batch(Batch { mut messages, .. }) = came else { unreachable!("it was waited for") };
    // Another member moves one there, after this one had looked.
    lab.publish("s.g.suspects").await;
    for handled in 1.. {
        assert!(handled < BACKLOG, "nobody looked");
        handle(&mut member, messages).await;
        messages = match fetch(&mut member, ROOM).await {
            Fetched::Batch(batch) => batch.messages,
            Fetched::Suspects => break,
            other => panic!("{other:?}"),
        };
    }
    assert!(matches!(fetch(&mut member, SUSPECT).await, Fetched::Batch(batch) if batch.unit == SUSPECTS));
    let Fetched::Batch(batch) = fetch(&mut member, ROOM).await else { panic!("others have their turn then") };
    assert_eq!(batch.unit, UNIT);
}

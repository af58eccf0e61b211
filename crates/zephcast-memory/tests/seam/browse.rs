//! Looking without taking.

use std::time::Duration;

use zephcast_core::driver::{Browsed, Cursor};
use zephcast_core::{ErrorKind, Message, Start, Token, UnitId};
use zephcast_memory::{Fault, MemoryConfig, Operation};

use crate::lab::{Lab, lab, stream, with};

async fn look(lab: &Lab, cursor: &Cursor, limit: usize) -> (Vec<String>, Cursor) {
    let Browsed { messages, next } = lab.admin().browse(&stream(), cursor, limit).await.unwrap();
    (messages.iter().map(|stored| stored.message.payload_str().unwrap().to_owned()).collect(), next)
}

#[tokio::test(start_paused = true)]
async fn partitions_are_woven_together_by_time_and_each_keeps_its_order() {
    let lab = lab(3);
    // Without a key the partitions take turns, a millisecond apart.
    for payload in ["a", "b", "c", "d", "e", "f", "g"] {
        lab.publish([payload]).await;
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let (mut shown, mut cursor) = (Vec::new(), Cursor::default());
    for expected in [2, 2, 2, 1, 0] {
        let (page, next) = look(&lab, &cursor, 2).await;
        assert_eq!(page.len(), expected);
        shown.extend(page);
        cursor = next;
    }
    assert_eq!(shown.concat(), "abcdefg");
    let units = [(UnitId(0), Token(3, 0)), (UnitId(1), Token(2, 0)), (UnitId(2), Token(2, 0))];
    assert_eq!(cursor, Cursor::Units(units.into()));
    // One batch has one time: whichever partition comes first, each is in order.
    let keyed = |n: u32| Message::new(n.to_string()).with_key((n % 5).to_string());
    lab.sink().await.publish(&(0..50).map(keyed).collect::<Vec<_>>()).await;
    let (batch, _) = look(&lab, &cursor, 100).await;
    let numbers: Vec<u32> = batch.iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 50);
    for key in 0..5 {
        assert!(numbers.iter().filter(|n| *n % 5 == key).is_sorted(), "{numbers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_dropped_since_is_passed_over_and_unnamed_units_begin_at_their_oldest() {
    let lab = with(MemoryConfig::new().partitions(2).retention_bytes(6_000));
    lab.publish(["a", "b"]).await;
    let (first, cursor) = look(&lab, &Cursor::default(), 1).await;
    assert_eq!(first, ["a"]);
    let large = || Message::new(vec![b'x'; 2_000]);
    lab.sink().await.publish(&[large(), large(), large(), large()]).await;
    let Browsed { messages, .. } = lab.admin().browse(&stream(), &cursor, 10).await.unwrap();
    let positions: Vec<_> = messages.iter().map(|stored| stored.position.to_string()).collect();
    assert_eq!(positions, ["0:2", "1:2"]);
    let of_one = Cursor::Units([(UnitId(0), Token(3, 0))].into());
    assert_eq!(lab.admin().browse(&stream(), &of_one, 10).await.unwrap().messages[0].position.to_string(), "1:2");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused() {
    let lab = lab(2);
    let [_, second] = lab.publish(["a", "b"]).await;
    let refused = async |cursor| lab.admin().browse(&stream(), &cursor, 1).await.unwrap_err().kind();
    assert_eq!(refused(Cursor::Units([(UnitId(2), Token(0, 0))].into())).await, ErrorKind::InvalidInput);
    let mut beyond = second;
    beyond.token = Token(9, 0);
    assert_eq!(refused(Cursor::Start(Start::Position(beyond))).await, ErrorKind::InvalidInput);
    lab.broker.faults().inject(Fault::cut().on(Operation::Admin));
    assert_eq!(refused(Cursor::default()).await, ErrorKind::Unavailable);
}

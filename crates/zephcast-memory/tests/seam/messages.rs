//! What is published arrives, as it was, in order, and at once.

use std::collections::BTreeMap;

use bytes::Bytes;
use zephcast_core::driver::{Credit, Driver, Fetched};
use zephcast_core::{Headers, Message, MessageId, Token};

use crate::lab::{credit, lab, payloads, stream, tokens};

#[tokio::test(start_paused = true)]
async fn arrives_in_order_with_its_position_and_first_attempt() {
    let lab = lab(1);
    let mut member = lab.join("a").await;
    let positions = lab.publish(["x", "y"]).await;
    assert_eq!(member.assigned().await, [0]);
    let batch = member.batch().await;
    assert_eq!(payloads(&batch), ["x", "y"]);
    for (incoming, position) in batch.messages.iter().zip(positions) {
        assert_eq!((incoming.token, incoming.origin.1), (position.token, position.token));
        assert_eq!((incoming.attempt, incoming.suspect, incoming.first_failed_ms), (1, false, None));
        assert!(incoming.published_ms.unwrap() > 1_600_000_000_000);
    }
    assert_eq!(member.ack(&batch).await, []);
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn every_byte_of_a_message_arrives() {
    let lab = lab(1);
    let mut headers = Headers::new();
    headers.append(Bytes::from_static(b"\xff\x00"), Bytes::from_static(b"\x00\xfe"));
    headers.append("twice", "1");
    headers.append("twice", "2");
    headers.append_null("null");
    let full = Message::new(&b"\x00\xff"[..]).with_key("k").with_headers(headers).with_id(MessageId::new("id"));
    let sent = [full, Message::new(""), Message::without_payload()];
    lab.sink().await.publish(&sent).await;
    let mut member = lab.join("a").await;
    member.assigned().await;
    let got: Vec<_> = member.batch().await.messages.into_iter().map(|incoming| incoming.message).collect();
    assert_eq!(got, sent);
}

#[tokio::test(start_paused = true)]
async fn one_key_is_in_one_partition_and_keyless_messages_are_spread() {
    let lab = lab(4);
    let sink = lab.sink().await;
    let batch: Vec<_> = (0..400).map(|n| Message::new("x").with_key(format!("customer-{}", n % 40))).collect();
    let mut unit_of = BTreeMap::new();
    let mut counts = [0; 4];
    for (message, result) in batch.iter().zip(sink.publish(&batch).await) {
        let unit = result.unwrap().unwrap().unit.0;
        assert_eq!(*unit_of.entry(message.key().unwrap()).or_insert(unit), unit);
        counts[unit as usize] += 1;
    }
    assert!(counts.iter().all(|count| *count >= 40), "{counts:?}");
    let keyless = lab.publish(["a", "b", "c", "d", "e"]).await;
    assert_eq!(keyless.map(|position| position.unit.0), [0, 1, 2, 3, 0]);
}

/// Keys keep their partition for ever: a group that is rebuilt elsewhere finds the same order.
#[tokio::test(start_paused = true)]
async fn the_partition_of_a_key_never_changes() {
    let lab = lab(12);
    let keys = ["", "a", "customer-7", "größe"];
    let results = lab.sink().await.publish(&keys.map(|key| Message::new("x").with_key(key))).await;
    let units: Vec<_> = results.into_iter().map(|result| result.unwrap().unwrap().unit.0).collect();
    assert_eq!(units, [7, 1, 3, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_fetch_gets_a_publish_at_once() {
    let lab = lab(3);
    let mut member = lab.join("a").await;
    member.assigned().await;
    let waiting = tokio::spawn(async move { member.batch().await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let before = tokio::time::Instant::now();
    lab.publish(["x"]).await;
    assert_eq!(payloads(&waiting.await.unwrap()), ["x"]);
    assert_eq!(before.elapsed().as_millis(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wakeup_is_lost_in_a_race() {
    let lab = lab(4);
    let mut member = lab.join("a").await;
    member.assigned().await;
    let sink = lab.sink().await;
    let publisher = tokio::spawn(async move {
        for n in 0..20_000_u32 {
            sink.publish(&[Message::new(n.to_be_bytes().to_vec())]).await;
            if n % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let mut got = 0;
    while got < 20_000 {
        // A lost wakeup would wait for the lease, which is longer than any test.
        let batch = tokio::time::timeout(std::time::Duration::from_secs(20), member.batch()).await.unwrap();
        got += batch.messages.len();
        assert_eq!(member.ack(&batch).await, []);
    }
    publisher.await.unwrap();
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn credit_bounds_messages_and_bytes_but_one_message_always_passes() {
    let lab = lab(1);
    lab.publish(["aaaa", "bbbb", "cccc", "dddd"]).await;
    let mut member = lab.join("a").await;
    member.assigned().await;
    assert_eq!(payloads(&member.batch_of(credit(1)).await), ["aaaa"]);
    let eight = Credit { messages: 10, bytes: 11, suspect: false };
    assert_eq!(payloads(&member.batch_of(eight).await), ["bbbb", "cccc"]);
    let none = Credit { messages: 10, bytes: 0, suspect: false };
    assert_eq!(payloads(&member.batch_of(none).await), ["dddd"]);
    member.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn every_unit_has_its_turn() {
    let lab = lab(3);
    lab.publish(["a0", "b0", "c0", "a1", "b1", "c1"]).await;
    let mut member = lab.join("a").await;
    member.assigned().await;
    let mut units = Vec::new();
    for _ in 0..6 {
        units.push(member.batch_of(credit(1)).await.unit.0);
    }
    assert_eq!(units, [0, 1, 2, 0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn groups_are_independent() {
    let lab = lab(1);
    let mut billing = lab.join("a").await;
    let mut audit = lab.start_at("audit", zephcast_core::Start::Earliest).await.unwrap();
    lab.publish(["x"]).await;
    for member in [&mut billing, &mut audit] {
        member.assigned().await;
        assert_eq!(payloads(&member.batch().await), ["x"]);
    }
    assert_eq!(billing.ack_tokens(0, [Token(0, 0)]).await.unwrap(), []);
    assert_eq!(lab.status().await.lag, Some(0));
    let audit_lag = lab.driver.group_status(&stream(), &zephcast_core::GroupName::new("audit").unwrap()).await.unwrap();
    assert_eq!(audit_lag.lag, Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_the_waiting_fetch_or_else_the_next_and_only_one() {
    let lab = lab(1);
    let mut member = lab.join("a").await;
    member.assigned().await;
    member.settler.interrupt();
    assert!(matches!(member.fetch().await, Fetched::Idle));
    // A fetch that brings something has answered the interrupt.
    lab.publish(["x"]).await;
    member.settler.interrupt();
    let batch = member.batch().await;
    assert_eq!(tokens(&batch), [Token(0, 0)]);
    let settler = member.settler.clone();
    let waiting = tokio::spawn(async move { member.fetch().await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    settler.interrupt();
    assert!(matches!(waiting.await.unwrap(), Fetched::Idle));
}

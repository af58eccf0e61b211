//! Where a new group begins.

use std::time::Duration;

use tokio::time::advance;
use zephcast_core::driver::Driver;
use zephcast_core::{ErrorKind, GroupName, PositionStyle, Start, Token, UnitId};

use crate::lab::{Member, credit, lab, payloads, position, stream};

async fn all(mut member: Member) -> Vec<String> {
    member.assigned().await;
    let mut got = Vec::new();
    loop {
        member.settler.interrupt();
        match member.intake.fetch(credit(100)).await.unwrap() {
            zephcast_core::driver::Fetched::Batch(batch) => {
                got.extend(payloads(&batch).iter().map(ToString::to_string));
            }
            zephcast_core::driver::Fetched::Idle => break,
            other => panic!("{other:?}"),
        }
    }
    got.sort();
    got
}

#[tokio::test(start_paused = true)]
async fn earliest_latest_time_and_position() {
    let lab = lab(2);
    lab.publish(["a0", "b1"]).await;
    advance(Duration::from_secs(1)).await;
    lab.publish(["c0", "d1"]).await;
    advance(Duration::from_secs(1)).await;
    lab.publish(["e0", "f1"]).await;
    let mut probe = lab.start_at("probe", Start::Earliest).await.unwrap();
    probe.assigned().await;
    let second_ms = probe.batch().await.messages[1].published_ms.unwrap();
    for (name, start, expected) in [
        ("earliest", Start::Earliest, vec!["a0", "b1", "c0", "d1", "e0", "f1"]),
        ("latest", Start::Latest, vec![]),
        ("time", Start::Time(second_ms), vec!["c0", "d1", "e0", "f1"]),
        ("between", Start::Time(second_ms + 1), vec!["e0", "f1"]),
        ("future", Start::Time(second_ms + 5_000), vec![]),
        ("position", Start::Position(position(1, 1)), vec!["c0", "d1", "e0", "f1"]),
        ("end", Start::Position(position(1, 3)), vec![]),
    ] {
        assert_eq!(all(lab.start_at(name, start).await.unwrap()).await, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_impossible_position_is_refused_and_makes_no_group() {
    let lab = lab(2);
    lab.publish(["a", "b"]).await;
    let foreign = zephcast_core::Position::new(PositionStyle::EntryId, UnitId(0), Token(0, 0));
    for bad in [position(0, 2), position(2, 0), foreign] {
        let error = lab.start_at("audit", Start::Position(bad)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
    }
    assert_eq!(lab.admin().stream(&stream()).await.unwrap().groups, Some(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_group_exists_from_its_first_join_or_its_creation_on() {
    let lab = lab(1);
    lab.publish(["before"]).await;
    let audit = GroupName::new("audit").unwrap();
    lab.admin().create_group(&stream(), &audit, Start::Latest).await.unwrap();
    let joined = lab.start_at("joined", Start::Latest).await.unwrap();
    lab.publish(["after"]).await;
    joined.leave(vec![]).await;
    // An existing group goes on where it is, whatever it is told.
    for name in ["audit", "joined"] {
        assert_eq!(all(lab.start_at(name, Start::Earliest).await.unwrap()).await, ["after"], "{name}");
    }
    let missing = GroupName::new("nobody").unwrap();
    let error = lab.driver.group_status(&stream(), &missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nobody"), "{error}");
}

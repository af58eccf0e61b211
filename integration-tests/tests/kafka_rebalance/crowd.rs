//! Many members, and more than there is work for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use zephcast::kafka::GroupProtocol;

use super::PATIENCE;
use super::lab::Lab;
use super::member::Member;

const STORM: Duration = Duration::from_secs(30);
/// By the eager protocol everybody stands still at each coming and going.
const fn crowd(protocol: GroupProtocol) -> usize {
    if matches!(protocol, GroupProtocol::Eager) { 6 } else { 20 }
}
/// How long a member stays that gets no partition.
const STAYS: Duration = Duration::from_secs(4);
/// Within this time something is delivered, whoever comes and goes.
const STANDSTILL: Duration = Duration::from_secs(20);

pub(crate) async fn storm(protocol: GroupProtocol) {
    let lab = Arc::new(Lab::new(protocol, 12).await);
    let publishing = lab.publishing();
    let mut steady = Member::join(&lab).await;
    steady.works().await;
    let until = Instant::now() + STORM;
    let mut members = JoinSet::new();
    for _ in 0..crowd(protocol) {
        let lab = lab.clone();
        members.spawn(async move {
            let (mut stays, mut worked) = (0, 0);
            while Instant::now() < until {
                let mut member = Member::join(&lab).await;
                // Whoever works leaves at once, so that partitions are on the move all the time.
                let works = tokio::time::timeout(STAYS, member.handled.wait_for(|handled| *handled > 20)).await.is_ok();
                member.leave().await;
                (stays, worked) = (stays + 1, worked + usize::from(works));
            }
            (stays, worked)
        });
    }
    let (mut delivered, mut moved, mut longest) = (lab.history.distinct(), Instant::now(), Duration::ZERO);
    while Instant::now() < until {
        let now = lab.history.distinct();
        if now > delivered {
            (delivered, moved) = (now, Instant::now());
        }
        longest = longest.max(moved.elapsed());
        assert!(moved.elapsed() < STANDSTILL, "nothing was delivered for {STANDSTILL:?}: {}", lab.history.findings());
        // The history is told by many; it tells nobody.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stays = tokio::time::timeout(PATIENCE, members.join_all()).await.expect("everybody leaves");
    let (stays, worked) = stays.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    publishing.end().await;
    lab.settled().await;
    steady.leave().await;
    println!("{protocol:?}: {stays} came and left, {worked} of them worked; {longest:?} without a delivery at most");
    assert!(stays > crowd(protocol) && worked > 0, "{stays} came and {worked} worked");
    lab.expect_each_once_in_order();
}

pub(crate) async fn more_members_than_partitions(protocol: GroupProtocol) {
    let lab = Arc::new(Lab::new(protocol, 3).await);
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(Member::join(&lab).await);
    }
    let publishing = lab.publishing();
    // Whoever has something goes, in turns with and without a word, until only those are left who had nothing.
    for vanishes in [false, true, false] {
        let busy = async {
            loop {
                let handled: Vec<u64> = members.iter().map(|member| *member.handled.borrow()).collect();
                if let Some(busy) = handled.iter().position(|handled| *handled > 0) {
                    return busy;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let busy = tokio::time::timeout(PATIENCE, busy).await.expect("somebody has a partition");
        let member = members.swap_remove(busy);
        if vanishes {
            member.vanish().await;
        } else {
            member.leave().await;
        }
    }
    for member in &mut members {
        member.works().await;
    }
    publishing.end().await;
    lab.settled().await;
    for member in members {
        member.leave().await;
    }
    lab.expect_each_once_in_order();
}

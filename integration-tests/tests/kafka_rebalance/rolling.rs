//! Each member is restarted, one after the other, several times: in good order, and by its death.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zephcast::kafka::GroupProtocol;
use zephcast_conformance::history::Repeat;

use super::lab::Lab;
use super::member::Member;
use super::process::Process;
use super::{COMMIT_INTERVAL, SHORT_LEASE};

const PARTITIONS: u32 = 8;
const MEMBERS: usize = 4;
const ROUNDS: usize = 5;
/// What a line takes from the member to this process, and a commit to the broker, when the machine is busy.
const SLACK: Duration = Duration::from_millis(800);

pub(crate) async fn restart(protocol: GroupProtocol) {
    let lab = Arc::new(Lab::new(protocol, PARTITIONS).await);
    let publishing = lab.publishing();
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(Member::join(&lab).await);
    }
    for _ in 0..ROUNDS * MEMBERS {
        members.remove(0).leave().await;
        let mut member = Member::join(&lab).await;
        member.works().await;
        members.push(member);
    }
    publishing.end().await;
    lab.settled().await;
    let mut late = 0;
    for member in members {
        late += member.leave().await.lease_lost;
    }
    lab.expect_each_once_in_order();
    assert_eq!((late, lab.lag().await), (0, 0));
}

pub(crate) async fn kill(protocol: GroupProtocol) {
    let lab = Arc::new(Lab::new(protocol, PARTITIONS).await);
    let publishing = lab.publishing();
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(Process::start(&lab, SHORT_LEASE).await);
    }
    let mut kills = BTreeMap::new();
    for _ in 0..ROUNDS * MEMBERS {
        let mut dies = members.remove(0);
        dies.works(20).await;
        let name = dies.name.clone();
        dies.kill9().await;
        kills.insert(name, Instant::now());
        members.push(Process::start(&lab, SHORT_LEASE).await);
    }
    publishing.end().await;
    lab.settled().await;

    let findings = lab.history.findings();
    findings.all_there().unwrap_or_else(|broken| panic!("{broken:?}"));
    let mut repeats: BTreeMap<&str, usize> = BTreeMap::new();
    for repeat in &findings.repeated {
        assert!(
            is_explained(repeat, &kills, window(protocol)),
            "came again although nobody died who could have had it: {repeat:?}"
        );
        *repeats.entry(&repeat.first_by).or_default() += 1;
    }
    println!("{protocol:?}: {findings}, after {} deaths: {:?}", kills.len(), repeats.values().collect::<Vec<_>>());
    for member in members {
        member.kill9().await;
    }
}

/// How long before its death a member may have acked what is not committed. A classic group answers no commit while it
/// waits for the one who died before.
fn window(protocol: GroupProtocol) -> Duration {
    COMMIT_INTERVAL + SLACK + if protocol == GroupProtocol::Classic { SHORT_LEASE } else { Duration::ZERO }
}

/// Only a death repeats: what its member had acked and not committed, and what it had in its hands.
fn is_explained(repeat: &Repeat, kills: &BTreeMap<String, Instant>, window: Duration) -> bool {
    let since = kills.get(&repeat.first_by).and_then(|killed| killed.checked_sub(window));
    since.is_some_and(|since| repeat.first >= since)
}

/// A group waits for a dead member until its session is over; whoever has partitions goes on meanwhile.
pub(crate) async fn others_go_on(protocol: GroupProtocol) {
    const LONG_LEASE: Duration = Duration::from_secs(15);
    /// More than a member hands out of all partitions without a commit.
    const MUCH: u64 = 1_500;
    let lab = Arc::new(Lab::new(protocol, 4).await);
    let publishing = lab.publishing();
    let mut survivor = Process::start(&lab, SHORT_LEASE).await;
    survivor.works(20).await;
    let mut dies = Process::start(&lab, LONG_LEASE).await;
    dies.works(20).await;
    dies.kill9().await;
    let killed = Instant::now();
    let other = Process::start(&lab, SHORT_LEASE).await;
    survivor.works(MUCH).await;
    let took = killed.elapsed();
    println!("{protocol:?}: {MUCH} more {took:?} after the death");
    assert!(took < LONG_LEASE, "stood still until the dead member's lease was over");
    publishing.end().await;
    lab.settled().await;
    survivor.kill9().await;
    other.kill9().await;
    lab.history.findings().all_there().unwrap_or_else(|broken| panic!("{broken:?}"));
}

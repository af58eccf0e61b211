//! Each member is restarted, one after the other, several times: in good order, and by its death.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zephcast::kafka::GroupProtocol;
use zephcast_conformance::history::Repeat;

use super::COMMIT_INTERVAL;
use super::lab::Lab;
use super::member::Member;
use super::process::Process;

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
        members.push(Process::start(&lab).await);
    }
    let mut kills = BTreeMap::new();
    for _ in 0..ROUNDS * MEMBERS {
        let mut dies = members.remove(0);
        dies.works(20).await;
        let name = dies.name.clone();
        dies.kill9().await;
        kills.insert(name, Instant::now());
        members.push(Process::start(&lab).await);
    }
    publishing.end().await;
    lab.settled().await;

    let findings = lab.history.findings();
    findings.all_there().unwrap_or_else(|broken| panic!("{broken:?}"));
    let mut repeats: BTreeMap<&str, usize> = BTreeMap::new();
    for repeat in &findings.repeated {
        assert!(is_explained(repeat, &kills), "came again although nobody died who could have had it: {repeat:?}");
        *repeats.entry(&repeat.first_by).or_default() += 1;
    }
    println!("{protocol:?}: {findings}, after {} deaths: {:?}", kills.len(), repeats.values().collect::<Vec<_>>());
    for member in members {
        member.kill9().await;
    }
}

/// Only a death repeats: what its member had acked and not committed, and what it had in its hands.
fn is_explained(repeat: &Repeat, kills: &BTreeMap<String, Instant>) -> bool {
    let since = kills.get(&repeat.first_by).and_then(|killed| killed.checked_sub(COMMIT_INTERVAL + SLACK));
    since.is_some_and(|since| repeat.first >= since)
}

//! An ack of a partition that was lost and came back.

use std::sync::Arc;

use rdkafka::topic_partition_list::Offset;
use tokio::time::timeout;
use zephcast_core::driver::{
    Credit, Driver as _, Fetched, Membership, Release, Returned, Settlement, Subscription, UnitSettlements,
};
use zephcast_core::{Token, UnitId};
use zephcast_kafka::KafkaDriver;

use crate::lab::{Lab, PATIENCE, config};

const ROOM: Credit = Credit { messages: 100, bytes: 1 << 20, suspect: false };
const COUNT: usize = 10;
/// What the one who has the partition in between settles of them.
const SETTLED: usize = 4;

/// The library takes any offset for a partition that is assigned, also one of a former assignment
/// (`rd_kafka_offset_store0`, `rdkafka_offset.h`), and the broker believes every member of the group: what another member did
/// not settle in between would be settled, and lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_of_a_former_assignment_settles_nothing_of_the_next() {
    let lab = Lab::new(2).await;
    for partition in 0..2 {
        lab.fill(partition, COUNT).await;
    }
    let driver = KafkaDriver::connect(config()).await.unwrap();
    let mut first = join(&driver, &lab).await;
    let (mut held, mut count) = (Vec::new(), 0);
    while count < 2 * COUNT {
        let (unit, tokens) = batch(&mut first).await;
        count += tokens.len();
        held.push((unit, tokens));
    }
    let mut second = join(&driver, &lab).await;
    let release = revoking(&mut first).await;
    let [unit] = release.units[..] else { panic!("one of two goes: {:?}", release.units) };
    release.release();
    let (taken, tokens) = batch(&mut second).await;
    assert_eq!((taken, tokens.len()), (unit, COUNT));
    let late = second.settler.settle(&acks(unit, &tokens[..SETTLED])).await.unwrap();
    assert_eq!(late, []);
    second.settler.commit().await.unwrap();
    let returned = tokens[SETTLED..].iter().map(|token| Returned { unit, token: *token, attempts: 0 });
    second.settler.leave(returned.collect(), PATIENCE).await.unwrap();

    let (regained, again) = batch(&mut first).await;
    assert_eq!((regained, again.len()), (unit, COUNT - SETTLED));
    let former = held.into_iter().filter(|(held, _)| *held == unit).flat_map(|(_, tokens)| tokens);
    let former: Vec<_> = former.collect();
    assert!(former.iter().all(|token| !again.contains(token)), "tokens of two assignments are told apart");
    let late = first.settler.settle(&acks(unit, &former)).await.unwrap();
    assert_eq!(late, former.iter().map(|token| (unit, *token)).collect::<Vec<_>>());
    first.settler.commit().await.unwrap();
    let place = async || lab.committed().await[unit.0 as usize];
    assert_eq!(place().await, Offset::Offset(SETTLED as i64), "moved by a late ack");
    first.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    assert_eq!(place().await, Offset::Offset(SETTLED as i64), "moved by leaving after a late ack");
    driver.close(PATIENCE).await.unwrap();
}

async fn join(driver: &Arc<KafkaDriver>, lab: &Lab) -> Membership {
    let subscription = Subscription::new(lab.stream.parse().unwrap(), lab.group.parse().unwrap());
    driver.join(subscription).await.expect("a member")
}

/// The next messages.
async fn batch(member: &mut Membership) -> (UnitId, Vec<Token>) {
    loop {
        match fetch(member).await {
            Fetched::Batch(batch) => {
                return (batch.unit, batch.messages.iter().map(|incoming| incoming.token).collect());
            }
            Fetched::Assigned(_) | Fetched::Idle => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn revoking(member: &mut Membership) -> Release {
    loop {
        match fetch(member).await {
            Fetched::Revoking(release) => return release,
            Fetched::Idle => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn fetch(member: &mut Membership) -> Fetched {
    timeout(PATIENCE, member.intake.fetch(ROOM)).await.expect("something in time").unwrap()
}

/// As the engine tells it: one by one, and up to where everything is settled.
fn acks(unit: UnitId, tokens: &[Token]) -> Settlement {
    let mut settled = UnitSettlements::new(unit);
    settled.frontier = tokens.last().copied();
    settled.acked = tokens.to_vec();
    Settlement { units: vec![settled], ..Settlement::default() }
}

//! What goes back keeps its order.

use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel};
use zephcast_core::driver::{Fetched, Settlement, UnitSettlements};

use crate::lab::{Lab, NORMAL, PATIENCE, fetch};
use crate::member::UNIT;

/// Publishes numbers to the group, from 0 on, for as long as it is polled.
async fn count_up(channel: &Channel) {
    for number in 0.. {
        let (options, none) = (BasicPublishOptions::default(), BasicProperties::default());
        let payload = u64::to_string(&number);
        channel.basic_publish("".into(), "s.g".into(), options, payload.as_bytes(), none).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_one_member_goes_on_where_the_last_one_left_off_while_more_comes() {
    const MEMBERS: usize = 10;
    /// Of each; the last half goes back.
    const HANDLED: u64 = 20;
    let lab = Lab::start().await;
    lab.join().await.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    let channel = lab.channel().await;
    let following = async {
        for turn in 0..MEMBERS {
            let mut member = lab.join().await;
            let (mut expected, mut seen) = (turn as u64 * HANDLED / 2, Vec::new());
            while seen.len() < HANDLED as usize {
                let Fetched::Batch(batch) = fetch(&mut member, NORMAL).await else { continue };
                for incoming in batch.messages {
                    assert_eq!(incoming.message.payload_str().unwrap(), expected.to_string(), "in turn {turn}");
                    seen.push(incoming.token);
                    expected += 1;
                }
            }
            seen.truncate(HANDLED as usize / 2);
            let units = vec![UnitSettlements { acked: seen, ..UnitSettlements::new(UNIT) }];
            assert_eq!(member.settler.settle(&Settlement { again: false, units }).await.unwrap(), []);
            member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
        }
    };
    tokio::select! {
        () = following => {}
        () = count_up(&channel) => unreachable!("it goes on"),
    }
}

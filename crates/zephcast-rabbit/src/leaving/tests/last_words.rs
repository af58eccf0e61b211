//! What is said of everything that goes back, once.

use lapin::options::BasicGetOptions;
use zephcast_core::driver::{Fetched, Returned};

use crate::lab::{Lab, NORMAL, PATIENCE, SUSPECT, until};
use crate::member::SUSPECTS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspect_that_was_tried_is_none_when_it_comes_again_to_the_one_that_leaves() {
    let lab = Lab::start().await;
    let mut member = lab.join().await;
    lab.publish("s.g.suspects").await;
    let suspect = until(&mut member, SUSPECT, |fetched| matches!(fetched, Fetched::Batch(_))).await;
    let Fetched::Batch(batch) = suspect else { unreachable!("is one") };
    let tried = Returned { unit: SUSPECTS, token: batch.messages[0].token, attempts: batch.messages[0].attempt };
    member.settler.leave(vec![tried], PATIENCE).await.unwrap();
    let mut next = lab.join().await;
    let came = until(&mut next, NORMAL, |fetched| matches!(fetched, Fetched::Batch(_) | Fetched::Suspects)).await;
    assert!(matches!(came, Fetched::Batch(_)), "its last member lived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_each_message_that_goes_back_there_is_one_word() {
    const MESSAGES: u64 = 3;
    let lab = Lab::start().await;
    let member = lab.join().await;
    for _ in 0..MESSAGES {
        lab.publish("s.g").await;
    }
    lab.held_by_members(MESSAGES).await;
    member.settler.leave(Vec::new(), PATIENCE).await.unwrap();
    let (channel, mut words) = (lab.channel().await, String::new());
    while let Some(word) = channel.basic_get("s.g.hints".into(), BasicGetOptions::default()).await.unwrap() {
        words.push_str(&String::from_utf8_lossy(&word.delivery.data));
    }
    assert_eq!(words.matches("innocent").count() as u64, MESSAGES, "{words}");
}

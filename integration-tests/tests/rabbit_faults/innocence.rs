//! Members that leave in good order hand over what they have not begun, without a doubt about it.

use std::time::Duration;

use tokio::time::Instant;

use super::lab;

const STREAM: &str = "innocence";
const PREFETCH: usize = 200;
const MESSAGES: u32 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_gives_back_comes_in_order_and_at_full_speed() {
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    let mut member = lab::join(&client, STREAM, PREFETCH).await;
    lab::publish(&client, STREAM, 0..MESSAGES).await;
    for round in 0..5 {
        // One that is handed out and not begun is given back with the others.
        let held = lab::take(&mut member, 20).await;
        assert_eq!(lab::number(&held[0]), 0, "round {round}");
        drop(held);
        let report = member.close(Duration::from_secs(10)).await.expect("leaves");
        assert!(report.clean, "{report:?}");
        let begin = Instant::now();
        member = lab::join(&client, STREAM, PREFETCH).await;
        let first = lab::next(&mut member).await;
        let took = begin.elapsed();
        println!("round {round}: the first came {took:?} after joining began");
        assert_eq!((lab::number(&first), first.attempt()), (0, 1));
        assert!(first.nack().is_ok());
        member.close(Duration::from_secs(10)).await.expect("leaves");
        member = lab::join(&client, STREAM, PREFETCH).await;
    }
    let begin = Instant::now();
    for number in 0..MESSAGES {
        let delivery = lab::next(&mut member).await;
        assert_eq!(lab::number(&delivery), number);
        delivery.ack().expect("is ours");
    }
    member.commit().await.expect("is settled");
    let took = begin.elapsed();
    println!("all {MESSAGES} within {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

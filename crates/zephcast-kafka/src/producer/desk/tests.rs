use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;

async fn room(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.unwrap()
}

fn stored(offset: i64) -> Answer {
    Answer::Stored { partition: 0, offset }
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_messages_once_all_are_there() {
    let (desk, semaphore) = (Arc::new(Desk::default()), Arc::new(Semaphore::new(1)));
    let ticket = desk.open(3, (room(&semaphore).await, None));
    let tags = [0, 1, 2].map(|place| ticket.tag(place));
    let waiting = tokio::spawn(ticket.answers());
    for place in [2, 0] {
        desk.answer(tags[place], stored(place as i64));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
    }
    assert_eq!(semaphore.available_permits(), 0);
    desk.answer(tags[1], Answer::Refused { code: Code::MessageTimedOut, may_be_stored: true });
    let refused = Answer::Refused { code: Code::MessageTimedOut, may_be_stored: true };
    assert_eq!(waiting.await.unwrap(), [stored(0), refused, stored(2)]);
    assert_eq!(semaphore.available_permits(), 1);
}

#[tokio::test]
async fn a_batch_that_nobody_waits_for_keeps_its_room_until_it_is_answered() {
    let (desk, semaphore) = (Arc::new(Desk::default()), Arc::new(Semaphore::new(2)));
    let forsaken = desk.open(1, (room(&semaphore).await, None));
    let tag = forsaken.tag(0);
    drop(forsaken);
    let other = desk.open(1, (room(&semaphore).await, None));
    assert_ne!(other.tag(0), tag);
    assert_eq!(semaphore.available_permits(), 0);
    desk.answer(tag, stored(7));
    assert_eq!(semaphore.available_permits(), 1);
    // Its number is free again, and what is late for it is nobody's.
    let next = desk.open(1, (room(&semaphore).await, None));
    assert_eq!(next.tag(0), tag);
    desk.answer(other.tag(0), stored(8));
    assert_eq!(other.answers().await, [stored(8)]);
    desk.answer(tag | 1, stored(9));
    assert!(timeout(Duration::from_millis(5), next.answers()).await.is_err());
}

#[tokio::test]
async fn the_end_answers_everybody() {
    let (desk, semaphore) = (Arc::new(Desk::default()), Arc::new(Semaphore::new(3)));
    let ticket = desk.open(2, (room(&semaphore).await, None));
    drop(desk.open(1, (room(&semaphore).await, None)));
    desk.answer(ticket.tag(1), stored(1));
    let waiting = tokio::spawn(ticket.answers());
    tokio::task::yield_now().await;
    desk.end();
    assert_eq!(waiting.await.unwrap(), [Answer::Unanswered, stored(1)]);
    assert_eq!(semaphore.available_permits(), 3);
    let batches = desk.lock();
    assert_eq!(batches.free.len(), batches.open.len());
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_on_its_way_until_it_is_answered() {
    let desk = Arc::new(Desk::default());
    let way = Arc::new(tokio::sync::RwLock::new(()));
    let hold: Hold = Arc::new(way.clone().read_owned().await);
    let ticket = desk.open(1, (room(&Arc::new(Semaphore::new(9))).await, Some(hold)));
    let tag = ticket.tag(0);
    drop(ticket);
    assert!(way.try_write().is_err());
    desk.answer(tag, Answer::Stored { partition: 0, offset: 0 });
    assert!(way.try_write().is_ok());
}

//! A member in this process.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use zephcast::{CloseReport, Consumer, Delivery, ErrorKind};
use zephcast_conformance::History;

use super::lab::Lab;
use super::{LEASE, PATIENCE, PREFETCH};

/// So many deliveries it has in its hands before it acks the first of them.
const IN_HAND: usize = 10;
/// It acks what it has when nothing has come for this long.
const IDLE: Duration = Duration::from_millis(20);
/// So many acks are confirmed at a time.
const COMMIT_EVERY: usize = 100;

/// Acks everything a little later, and notes what was delivered and what is settled for certain.
pub(crate) struct Member {
    leave: oneshot::Sender<End>,
    task: JoinHandle<Option<CloseReport>>,
    /// How many deliveries it has handled.
    pub(crate) handled: watch::Receiver<u64>,
}

enum End {
    Leave,
    Vanish,
}

impl Member {
    pub(crate) async fn join(lab: &std::sync::Arc<Lab>) -> Self {
        let builder = lab.client.consumer(&lab.stream).group(&lab.group).lease(LEASE).prefetch(PREFETCH);
        let consumer = builder.start().await.expect("joins");
        let (leave, left) = oneshot::channel();
        let (handle, handled) = watch::channel(0);
        let task = tokio::spawn(serve(consumer, lab.clone(), handle, left));
        Self { leave, task, handled }
    }

    /// Waits until it has handled something.
    pub(crate) async fn works(&mut self) {
        let works = tokio::time::timeout(PATIENCE, self.handled.wait_for(|handled| *handled > 0)).await;
        works.expect("a partition in time").expect("it lives");
    }

    /// Leaves in good order.
    pub(crate) async fn leave(self) -> CloseReport {
        // One that ended by itself has panicked, which joining it tells.
        let _ = self.leave.send(End::Leave);
        let report = self.task.await.expect("the member does not panic").expect("it was closed");
        assert!(report.clean, "{report:?}");
        report
    }

    /// Goes without a word, as by a panic, but for what it has in its hands.
    pub(crate) async fn vanish(self) {
        let _ = self.leave.send(End::Vanish);
        self.task.await.expect("the member does not panic");
    }
}

async fn serve(
    mut consumer: Consumer,
    lab: std::sync::Arc<Lab>,
    handled: watch::Sender<u64>,
    mut left: oneshot::Receiver<End>,
) -> Option<CloseReport> {
    let name = consumer.member().to_string();
    let mut in_hand: VecDeque<(Option<u64>, Delivery)> = VecDeque::new();
    let mut acked = Vec::with_capacity(COMMIT_EVERY);
    let end = loop {
        let next = tokio::select! {
            biased;
            end = &mut left => break end,
            next = consumer.next() => Some(next),
            () = tokio::time::sleep(IDLE), if !in_hand.is_empty() => None,
        };
        match next {
            Some(next) => {
                let delivery = next.expect("a consumer does not end by itself").expect("no permanent error");
                lab.order.delivered(&name, delivery.payload());
                in_hand.push_back((lab.history.delivered(&name, delivery.payload()), delivery));
                handled.send_modify(|count| *count += 1);
            }
            None => in_hand.drain(..).for_each(|held| ack(held, &mut acked)),
        }
        while in_hand.len() > IN_HAND {
            in_hand.pop_front().into_iter().for_each(|held| ack(held, &mut acked));
        }
        if acked.len() >= COMMIT_EVERY {
            confirm(&consumer, &name, &lab.history, &mut acked).await;
        }
    };
    in_hand.drain(..).for_each(|held| ack(held, &mut acked));
    match end.unwrap_or(End::Leave) {
        End::Leave => Some(consumer.close(Duration::from_secs(20)).await.expect("closes")),
        End::Vanish => {
            confirm(&consumer, &name, &lab.history, &mut acked).await;
            None
        }
    }
}

fn ack((number, delivery): (Option<u64>, Delivery), acked: &mut Vec<u64>) {
    // One that came too late comes again, which the history sees.
    if delivery.ack().is_ok() {
        acked.extend(number);
    }
}

/// Waits until what was acked is settled for certain, and notes it.
async fn confirm(consumer: &Consumer, name: &str, history: &History, acked: &mut Vec<u64>) {
    match consumer.commit().await {
        Ok(()) => acked.drain(..).for_each(|number| history.settled(name, number)),
        // It is not said which of them came too late.
        Err(error) if error.kind() == ErrorKind::LeaseLost => acked.clear(),
        Err(error) => panic!("a commit ends well or too late: {error}"),
    }
}

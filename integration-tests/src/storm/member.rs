//! A member in this process, and joins and leaves of others beside it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use zephcast::{Client, CloseReport, Consumer, ErrorKind, Event, Events};
use zephcast_conformance::History;

use super::Terms;
use super::outages::Outages;

/// So many acks are confirmed at a time.
const COMMIT_EVERY: usize = 100;

/// A member in this process. Acks everything, and notes what was delivered and what is settled for certain.
#[derive(Debug)]
pub struct Member {
    leave: oneshot::Sender<()>,
    task: JoinHandle<CloseReport>,
    /// How many deliveries it has handled.
    pub handled: watch::Receiver<u64>,
    /// What it says of its broker.
    pub outages: Outages,
    /// Ends with the consumer.
    listening: JoinHandle<()>,
}

impl Member {
    /// Joins.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn join(terms: Terms, client: &Client, history: Arc<History>) -> Self {
        let Terms { stream, group, lease, prefetch, .. } = terms;
        let builder = client.consumer(stream).group(group).lease(lease).prefetch(prefetch);
        let consumer = builder.start().await.expect("joins");
        let outages = Outages::default();
        // Apart from the deliveries: whoever waits for a commit during an outage is to hear of the outage.
        let listening = tokio::spawn(listen(consumer.events(), outages.clone()));
        let (leave, left) = oneshot::channel();
        let (handle, handled) = watch::channel(0);
        let task = tokio::spawn(serve(consumer, history, handle, left));
        Self { leave, task, handled, outages, listening }
    }

    /// Leaves in good order.
    ///
    /// # Panics
    /// When it has panicked.
    pub async fn leave(self) -> CloseReport {
        // One that ended by itself has panicked, which joining it tells.
        let _ = self.leave.send(());
        let report = self.task.await.expect("the member does not panic");
        self.listening.await.expect("listening does not panic");
        report
    }
}

async fn listen(mut events: Events, outages: Outages) {
    while let Some(event) = events.next().await {
        match event {
            Event::Disconnected(_) => outages.disconnected(),
            Event::Reconnected(_) => outages.reconnected(),
            Event::Lost(_) => outages.lost(),
            _ => {}
        }
    }
}

async fn serve(
    mut consumer: Consumer,
    history: Arc<History>,
    handled: watch::Sender<u64>,
    mut left: oneshot::Receiver<()>,
) -> CloseReport {
    let name = consumer.member().to_string();
    let mut acked = Vec::with_capacity(COMMIT_EVERY);
    loop {
        let next = tokio::select! {
            biased;
            _ = &mut left => break,
            next = consumer.next() => next,
        };
        let delivery = next.expect("a consumer does not end by itself").expect("no permanent error");
        let number = history.delivered(&name, delivery.payload());
        // One that came too late comes again, which the history sees.
        if delivery.ack().is_ok() {
            acked.extend(number);
        }
        handled.send_modify(|count| *count += 1);
        if acked.len() >= COMMIT_EVERY {
            confirm(&consumer, &name, &history, &mut acked).await;
        }
    }
    consumer.close(Duration::from_secs(10)).await.expect("closes")
}

/// Waits until what was acked is settled for certain, and notes it.
async fn confirm(consumer: &Consumer, name: &str, history: &History, acked: &mut Vec<u64>) {
    match consumer.commit().await {
        Ok(()) => acked.drain(..).for_each(|number| history.settled(name, number)),
        // It is not said which of them came too late, or may have.
        Err(error) if matches!(error.kind(), ErrorKind::LeaseLost | ErrorKind::Unavailable) => acked.clear(),
        Err(error) => panic!("a commit ends well, too late or unknown: {error}"),
    }
}

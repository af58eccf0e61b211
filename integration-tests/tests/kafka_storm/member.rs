//! A member, which acks everything, and notes what was delivered and what is settled for certain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use zephcast::{Client, CloseReport, Consumer, ErrorKind, Event, Events};
use zephcast_conformance::History;

use super::{GROUP, LEASE, PATIENCE, PREFETCH, STREAM};

/// So many acks are confirmed at a time.
const COMMIT_EVERY: usize = 100;

pub(crate) struct Member {
    leave: oneshot::Sender<End>,
    task: JoinHandle<Option<CloseReport>>,
    /// How often it lost partitions, and its broker.
    pub(crate) told: watch::Receiver<Told>,
    /// Ends with the consumer.
    listening: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) lost: u64,
    pub(crate) disconnected: u64,
    pub(crate) handled: u64,
}

enum End {
    Leave,
    /// Without a word, with what it has in its hands.
    Vanish,
}

impl Member {
    pub(crate) async fn join(client: &Client, history: Arc<History>) -> Self {
        let until = Instant::now() + PATIENCE;
        // Joining is one attempt, and a broker may be away just now.
        let consumer = loop {
            let builder = client.consumer(STREAM).group(GROUP).lease(LEASE).prefetch(PREFETCH);
            match builder.drain(Duration::from_millis(200)).start().await {
                Ok(consumer) => break consumer,
                Err(error) => assert!(error.is_retryable() && Instant::now() < until, "{error:?}"),
            }
        };
        let (tell, told) = watch::channel(Told::default());
        // Apart from the deliveries: whoever waits for a commit during an outage is to hear of the outage.
        let listening = tokio::spawn(listen(consumer.events(), tell.clone()));
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(serve(consumer, history, tell, left));
        Self { leave, task, told, listening }
    }

    /// Waits until it has told so.
    pub(crate) async fn until(&self, holds: impl FnMut(&Told) -> bool) -> bool {
        let mut told = self.told.clone();
        tokio::time::timeout(PATIENCE / 3, told.wait_for(holds)).await.is_ok_and(|told| told.is_ok())
    }

    pub(crate) async fn leave(self) -> CloseReport {
        // One that ended by itself has panicked, which joining it tells.
        let _ = self.leave.send(End::Leave);
        let report = self.task.await.expect("the member does not panic").expect("it was closed");
        self.listening.await.expect("listening does not panic");
        report
    }

    pub(crate) async fn vanish(self) {
        let _ = self.leave.send(End::Vanish);
        self.task.await.expect("the member does not panic");
    }
}

async fn listen(mut events: Events, told: watch::Sender<Told>) {
    while let Some(event) = events.next().await {
        match event {
            Event::Lost(_) => told.send_modify(|told| told.lost += 1),
            Event::Disconnected(_) => told.send_modify(|told| told.disconnected += 1),
            Event::Recreated | Event::Missing { .. } => panic!("the log is as it was: {event:?}"),
            _ => {}
        }
    }
}

async fn serve(
    mut consumer: Consumer,
    history: Arc<History>,
    told: watch::Sender<Told>,
    mut left: oneshot::Receiver<End>,
) -> Option<CloseReport> {
    let name = consumer.member().to_string();
    let mut acked = Vec::with_capacity(COMMIT_EVERY);
    let end = loop {
        let next = tokio::select! {
            biased;
            end = &mut left => break end,
            next = consumer.next() => next,
        };
        let delivery = next.expect("a consumer does not end by itself").expect("no permanent error");
        let number = history.delivered(&name, delivery.payload());
        // One that came too late comes again, which the history sees.
        if delivery.ack().is_ok() {
            acked.extend(number);
        }
        told.send_modify(|told| told.handled += 1);
        if acked.len() >= COMMIT_EVERY {
            match consumer.commit().await {
                Ok(()) => acked.drain(..).for_each(|number| history.settled(&name, number)),
                // It is not said which of them came too late.
                Err(error) if error.kind() == ErrorKind::LeaseLost => acked.clear(),
                Err(error) => panic!("a commit ends well or too late: {error}"),
            }
        }
    };
    match end.unwrap_or(End::Leave) {
        End::Leave => Some(consumer.close(Duration::from_secs(20)).await.expect("closes")),
        End::Vanish => None,
    }
}

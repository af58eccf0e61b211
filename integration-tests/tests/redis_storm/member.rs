//! A member in this process, and joins and leaves of others beside it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zephcast::{Client, CloseReport, Consumer};
use zephcast_conformance::History;

use super::{GROUP, LEASE, STREAM};

/// Acks everything and notes it.
pub(crate) struct Member {
    leave: oneshot::Sender<()>,
    task: JoinHandle<CloseReport>,
}

impl Member {
    pub(crate) async fn join(client: &Client, history: Arc<History>) -> Self {
        let consumer = client.consumer(STREAM).group(GROUP).lease(LEASE).prefetch(200).start().await.expect("joins");
        let (leave, left) = oneshot::channel();
        Self { leave, task: tokio::spawn(serve(consumer, history, left)) }
    }

    pub(crate) async fn leave(self) -> CloseReport {
        // One that ended by itself has panicked, which joining it tells.
        let _ = self.leave.send(());
        self.task.await.expect("the member does not panic")
    }
}

async fn serve(mut consumer: Consumer, history: Arc<History>, mut left: oneshot::Receiver<()>) -> CloseReport {
    let name = consumer.member().to_string();
    loop {
        let next = tokio::select! {
            biased;
            _ = &mut left => break,
            next = consumer.next() => next,
        };
        let delivery = next.expect("a consumer does not end by itself").expect("no permanent error");
        history.delivered(&name, delivery.payload());
        // One that came too late comes again, which the history sees.
        let _ = delivery.ack();
    }
    consumer.close(Duration::from_secs(10)).await.expect("closes")
}

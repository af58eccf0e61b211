//! How a group of members with a handler is set up and run.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select, try_join_all};
use tokio::sync::watch;

use super::dispatch::Dispatch;
use super::handler::{HandlerError, handle};
use crate::{CloseReport, Consumer, ConsumerBuilder, Delivery, Event, MemberName, Result, Retry, Start};

type OnEvent = Arc<dyn Fn(&MemberName, &Event) + Send + Sync>;

/// Members of a group that call a handler for each delivery and settle by its result. [`run`](Self::run) runs them.
#[derive(Clone)]
#[must_use = "nothing happens before `run`"]
pub struct GroupBuilder {
    pub(crate) consumer: ConsumerBuilder,
    member: Option<String>,
    pub(crate) members: usize,
    pub(crate) concurrency: usize,
    pub(crate) ordered: bool,
    pub(crate) retry: Retry,
    on_event: Option<OnEvent>,
}

impl GroupBuilder {
    pub(crate) fn new(consumer: ConsumerBuilder) -> Self {
        Self {
            consumer,
            member: None,
            members: 1,
            concurrency: 1,
            ordered: false,
            retry: Retry::default(),
            on_event: None,
        }
    }

    /// How many members run here. Default 1; 0 counts as 1.
    pub fn members(mut self, members: usize) -> Self {
        self.members = members.max(1);
        self
    }

    /// How many deliveries each member handles at a time. Default 1; 0 counts as 1.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Handles messages of one key one after another, also through retries: a failed one is tried again before the next
    /// of its key. Default: off.
    pub fn ordered_by_key(mut self) -> Self {
        self.ordered = true;
        self
    }

    /// When a failed attempt is repeated, and when it is given up. Default: 5 attempts, from 200 ms on, doubling.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self.consumer = self.consumer.retry(retry);
        self
    }

    /// The name of the members; with more than one, `-1`, `-2` and so on are added. Default: as
    /// [`ConsumerBuilder::member`].
    pub fn member(mut self, member: impl AsRef<str>) -> Self {
        self.member = Some(member.as_ref().to_owned());
        self
    }

    /// As [`ConsumerBuilder::start_at`].
    pub fn start_at(mut self, start: Start) -> Self {
        self.consumer = self.consumer.start_at(start);
        self
    }

    /// As [`ConsumerBuilder::prefetch`], for each member.
    pub fn prefetch(mut self, messages: usize) -> Self {
        self.consumer = self.consumer.prefetch(messages);
        self
    }

    /// As [`ConsumerBuilder::prefetch_bytes`], for each member.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.consumer = self.consumer.prefetch_bytes(bytes);
        self
    }

    /// As [`ConsumerBuilder::lease`].
    pub fn lease(mut self, lease: Duration) -> Self {
        self.consumer = self.consumer.lease(lease);
        self
    }

    /// How long running handlers are waited for at a shutdown or when units are given up. Default 30 s.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.consumer = self.consumer.drain(drain);
        self
    }

    /// As [`ConsumerBuilder::ack_flush`].
    pub fn ack_flush(mut self, count: u64, after: Duration) -> Self {
        self.consumer = self.consumer.ack_flush(count, after);
        self
    }

    /// As [`ConsumerBuilder::create`].
    pub fn create(mut self, create: bool) -> Self {
        self.consumer = self.consumer.create(create);
        self
    }

    /// Calls this for every event of every member.
    pub fn on_event(mut self, on_event: impl Fn(&MemberName, &Event) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(on_event));
        self
    }

    /// Runs the members until `shutdown` resolves, then drains and leaves: running handlers finish within the drain
    /// time, the rest goes back to the group. From the moment that `shutdown` resolves no handler is started, not even
    /// for what became ready with it.
    ///
    /// The handler's result settles: `Ok` acks, an error is a failed attempt, [`HandlerError::reject`] gives up at
    /// once, a panic is a failed attempt like any other. All members and handlers run in the task that awaits this;
    /// a handler with much to compute spawns that, or the caller runs several groups in tasks of their own.
    ///
    /// In a spawned task the handler owns what it uses: `async move |delivery| …` with an `Arc` of what is shared. One
    /// that borrows from the task's own variables is refused there by the compiler ("`Send` is not general enough").
    ///
    /// # Errors
    /// What [`ConsumerBuilder::start`] fails with, the permanent error that ended a member, or what [`Consumer::close`]
    /// fails with. The other members have left in good order then.
    ///
    /// # Cancel safety
    /// Not cancel safe: running handlers are dropped with it, wherever they are. Their messages go back to the group,
    /// and the members leave in the background within the drain time.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// use zephcast_core::{Delivery, HandlerError};
    ///
    /// client.publisher("orders").await?.publish("two apples").await?;
    ///
    /// let (handled, one_handled) = tokio::sync::watch::channel(0);
    /// let handler = async |delivery: &Delivery| {
    ///     assert_eq!(delivery.payload_str()?, "two apples");
    ///     handled.send_modify(|count| *count += 1);
    ///     Ok::<_, HandlerError>(())
    /// };
    /// // In a service this waits for a signal.
    /// let mut stop = one_handled.clone();
    /// let shutdown = async { drop(stop.wait_for(|count| *count == 1).await) };
    ///
    /// let report = client.group("orders", "billing").members(3).concurrency(8).run(handler, shutdown).await?;
    /// assert!(report.clean && report.acked == 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run<H, E>(self, handler: H, shutdown: impl Future<Output = ()>) -> Result<CloseReport>
    where
        H: AsyncFn(&Delivery) -> Result<(), E>,
        E: Into<HandlerError>,
    {
        let consumers = try_join_all((1..=self.members).map(|n| self.consumer_of(n).start())).await?;
        let (stop, stopped) = watch::channel(false);
        let members = consumers.into_iter().map(|consumer| self.serve(consumer, &handler, stopped.clone(), &stop));
        let members = futures_util::future::join_all(members);
        // The wish to stop is looked at first: what became ready with it starts no handler any more.
        let reports = match select(std::pin::pin!(shutdown), std::pin::pin!(members)).await {
            Either::Right((reports, _)) => reports,
            Either::Left(((), members)) => {
                stop.send_replace(true);
                members.await
            }
        };
        let clean = CloseReport { clean: true, ..CloseReport::default() };
        reports.into_iter().try_fold(clean, |all, report| Ok(all.merge(&report?)))
    }

    fn consumer_of(&self, n: usize) -> ConsumerBuilder {
        match &self.member {
            Some(name) if self.members > 1 => self.consumer.clone().member(format!("{name}-{n}")),
            Some(name) => self.consumer.clone().member(name),
            None => self.consumer.clone(),
        }
    }

    /// One member's life: handle until stopped, drain, leave. A member that fails stops the others.
    async fn serve<H, E>(
        &self,
        mut consumer: Consumer,
        handler: &H,
        mut stopped: watch::Receiver<bool>,
        stop: &watch::Sender<bool>,
    ) -> Result<CloseReport>
    where
        H: AsyncFn(&Delivery) -> Result<(), E>,
        E: Into<HandlerError>,
    {
        let in_place = self.ordered.then_some(self.retry);
        let start = |delivery| handle(handler, delivery, in_place);
        let mut dispatch = Dispatch::new(start, self.concurrency, self.ordered);
        let mut events = consumer.events();
        let name = consumer.member().clone();
        let watch = async {
            while let Some(event) = events.next().await {
                if let Some(on_event) = &self.on_event {
                    on_event(&name, &event);
                }
            }
            std::future::pending::<Infallible>().await
        };
        tokio::pin!(watch);
        let ended = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Ok(()),
            ended = dispatch.run(&mut consumer) => ended,
            never = &mut watch => match never {},
        };
        if ended.is_err() {
            stop.send_replace(true);
        }
        // Intake ends first; handlers that run go on beside the leaving, and what is left of them is dropped at its
        // deadline.
        let drained = async {
            dispatch.drain().await;
            std::future::pending::<Infallible>().await
        };
        let report = tokio::select! {
            report = consumer.close(self.consumer.drain_time()) => report,
            never = drained => match never {},
            never = &mut watch => match never {},
        };
        ended.and(report)
    }
}

impl std::fmt::Debug for GroupBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupBuilder")
            .field("consumer", &self.consumer)
            .field("members", &self.members)
            .field("concurrency", &self.concurrency)
            .field("ordered_by_key", &self.ordered)
            .finish_non_exhaustive()
    }
}

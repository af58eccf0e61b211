//! Receiving, one delivery at a time.

mod builder;
mod events;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::oneshot;
use tokio::task::coop;

pub use self::builder::ConsumerBuilder;
pub use self::events::Events;
use crate::engine::{Item, Member, MemberCore, Parcel, Popped, Request};
use crate::{CloseReport, Delivery, Error, ErrorKind, MemberName, Result};

/// A member of a group: a stream of deliveries.
///
/// Made by [`Client::consumer`](crate::Client::consumer). What it fetched and did not hand out goes back to the group
/// when it is closed or dropped.
#[derive(Debug)]
pub struct Consumer {
    core: Arc<MemberCore>,
    /// What is left of the batch being handed out.
    parcel: Option<Parcel>,
    /// What must wait for a suspect's turn to end.
    waiting: Option<Item>,
    /// `None` once closing began.
    member: Option<Member>,
    /// Whether the reason of the end, or the end, was handed out.
    ended: bool,
}

impl Consumer {
    pub(crate) fn new(core: Arc<MemberCore>, member: Member) -> Self {
        Self { core, parcel: None, waiting: None, member: Some(member), ended: false }
    }

    /// The next delivery. `None` after a permanent error was handed out.
    ///
    /// While the broker is away this waits; [`events`](Self::events) tell. Each delivery takes from the task's budget
    /// of tokio's cooperative scheduling, so a loop over a full stream lets other tasks run.
    ///
    /// # Errors
    /// A permanent one, once: credentials refused, the stream's name taken by something else.
    ///
    /// # Cancel safety
    /// Cancel safe: a delivery is either returned or still here.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// let mut consumer = client.consumer("orders").group("billing").start().await?;
    /// client.publisher("orders").await?.publish("two apples").await?;
    ///
    /// let delivery = consumer.next().await.expect("no permanent error yet")?;
    /// assert_eq!(delivery.payload_str()?, "two apples");
    /// delivery.ack()?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Result<Delivery>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// What happens to this member. The first call sees everything since it joined.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.core.events())
    }

    /// This member's name.
    #[must_use]
    pub fn member(&self) -> &MemberName {
        &self.core.subscription.member
    }

    /// Waits until every earlier settlement is durable at the broker. While the broker is away this waits.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] when some settlement since the last commit came too late; [`ErrorKind::Unavailable`] when of
    /// some nobody knows, as in [`Delivery::ack_confirmed`](crate::Delivery::ack_confirmed). The others are durable.
    /// [`ErrorKind::Closed`] when the member has ended. Any other kind when nothing can be settled any more.
    ///
    /// # Cancel safety
    /// Cancel safe: settlements go on being written. A settlement that came too late is told by the next call then.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// # let mut consumer = client.consumer("orders").group("billing").start().await?;
    /// # client.publisher("orders").await?.publish("two apples").await?;
    /// consumer.next().await.expect("a delivery")?.ack()?;
    /// consumer.commit().await?;
    /// assert_eq!(client.group_status("orders", "billing").await?.lag, Some(0));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn commit(&self) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.core.request(Request::Commit(done));
        let closed = || Error::new(ErrorKind::Closed, "commit", "the consumer has ended");
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The counters so far.
    #[must_use]
    pub fn report(&self) -> CloseReport {
        self.core.report()
    }

    /// Leaves the group: stops fetching, waits for deliveries that are still out to be settled, makes every settlement
    /// durable, gives back the rest, and says what it could not do. Returns within the deadline.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the member's task was ended from outside, as by a runtime's shutdown.
    ///
    /// # Cancel safety
    /// Leaving goes on in the background, within the deadline, when the future is dropped; its report is lost.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// # let mut consumer = client.consumer("orders").group("billing").start().await?;
    /// # client.publisher("orders").await?.publish("two apples").await?;
    /// consumer.next().await.expect("a delivery")?.ack()?;
    /// let report = consumer.close(Duration::from_secs(10)).await?;
    /// assert!(report.clean && report.acked == 1);
    /// assert!(client.group_status("orders", "billing").await?.members.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(mut self, deadline: Duration) -> Result<CloseReport> {
        // What was fetched and not handed out goes back.
        (self.parcel, self.waiting) = (None, None);
        let Some(member) = self.member.take() else { return Ok(self.core.report()) };
        member.stop(deadline);
        let ended = || Error::new(ErrorKind::Internal, "close", "the member's task was ended from outside");
        member.ended().await.ok_or_else(ended)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery>>> {
        let budget = ready!(coop::poll_proceed(cx));
        let next = self.poll_next_delivery(cx);
        if next.is_ready() {
            budget.made_progress();
        }
        next
    }

    fn poll_next_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery>>> {
        loop {
            if let Some(delivery) = self.next_at_hand() {
                return Poll::Ready(Some(Ok(delivery)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            // What is at hand waits for the end of a suspect's turn, and nothing must take its place.
            let at_hand = self.has_at_hand();
            let popped = self.core.queue.poll_pop(cx, || at_hand || self.core.isolation.is_on());
            let Poll::Ready(popped) = popped else {
                if at_hand && !self.core.isolation.is_on() {
                    // The suspect's turn ended before the queue knew whom to wake.
                    continue;
                }
                self.park(true);
                return Poll::Pending;
            };
            self.park(false);
            match popped {
                Popped::Parcel(parcel) => {
                    debug_assert!(!at_hand, "nothing takes the place of what is at hand");
                    self.core.read_clock();
                    self.parcel = Some(parcel);
                }
                Popped::Again(item) => {
                    debug_assert!(!at_hand, "nothing takes the place of what is at hand");
                    self.waiting = Some(item);
                }
                Popped::Suspect(item) => {
                    // Nobody holds up the suspect's turn for one that is lost.
                    let handed_out = item.may_be_handed_out().then(|| Delivery::hand_out(item, true));
                    // Only now: until it counts as started the next suspect must wait.
                    self.core.queue.suspect_is_taken();
                    self.core.isolation.progressed();
                    if let Some(Ok(delivery)) = handed_out {
                        return Poll::Ready(Some(Ok(delivery)));
                    }
                }
                Popped::Failed(error) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Popped::Ended => self.ended = true,
            }
        }
    }

    fn has_at_hand(&self) -> bool {
        self.waiting.is_some() || self.parcel.is_some()
    }

    /// Hands out the next of what is here already, unless a suspect has its turn.
    fn next_at_hand(&mut self) -> Option<Delivery> {
        if self.waiting.is_some() && !self.core.isolation.is_on() {
            // One whose unit is being given up stays in the window and goes with the unit.
            if let Some(item) = self.waiting.take().filter(Item::may_be_handed_out) {
                return Delivery::hand_out(item, false).map_err(|item| self.waiting = Some(item)).ok();
            }
        }
        let parcel = self.parcel.as_mut()?;
        let delivery = parcel.next();
        if delivery.is_none() && parcel.is_empty() {
            self.parcel = None;
        }
        delivery
    }

    fn park(&self, parked: bool) {
        if self.core.is_parked() != parked {
            self.core.park(parked);
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

/// Leaves in the background, within the drain time.
impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            member.stop(self.core.settings.drain);
        }
    }
}

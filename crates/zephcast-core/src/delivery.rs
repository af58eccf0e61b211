//! A message in a member's hands, and the five things that can become of it.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::driver::Failure;
use crate::engine::{Item, Request};
use crate::{Error, ErrorKind, GroupName, MemberName, Message, Position, Result, StreamName, UnitId};

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 1_024;

/// What is to become of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Ack,
    /// It is handed out again at once; the attempt does not count.
    Nack,
    /// The group gets it again after this long; the attempt does not count.
    NackAfter(Duration),
    /// A failed attempt, with the reason: tried again by the retry policy, then dead-lettered.
    Fail(String),
    /// To the dead letters at once, with the reason.
    Reject(String),
}

/// A message that was delivered to this member, with its metadata. It is settled exactly once, by consuming it.
///
/// Dropping it unsettled hands it out again and is counted: silence never loses a message. It can be settled on any
/// thread; no settling waits for the network but the `confirmed` ones.
pub struct Delivery {
    /// `None` only while it is being settled.
    item: Option<Item>,
}

impl Delivery {
    /// Hands a message out, or gives it back when it must wait for a suspect's turn.
    pub(crate) fn hand_out(item: Item, is_suspect: bool) -> std::result::Result<Self, Item> {
        let handed = item.core().hand_out(item.slots(), item.index, is_suspect);
        if handed { Ok(Self::handed_out(item)) } else { Err(item) }
    }

    /// A message whose hand-out was counted.
    pub(crate) fn handed_out(item: Item) -> Self {
        Self { item: Some(item) }
    }

    /// It waits for another one of its key, so nobody works on it yet.
    pub(crate) fn wait(&self) {
        let item = self.item();
        item.slots().take_back(item.index);
    }

    /// Somebody works on it from now on; `false` when it is no longer to be begun.
    pub(crate) fn begin(&self) -> bool {
        let item = self.item();
        item.core().mark_handed(item.slots(), item.index);
        item.may_be_handed_out()
    }

    /// Hands it back unstarted, which is nobody's fault and not counted.
    pub(crate) fn give_back(mut self) {
        if let Some(item) = self.item.take() {
            let core = item.core().clone();
            core.hand_back(item);
            core.settled();
        }
    }

    /// Where the message lies in its stream; the same at each attempt.
    #[must_use]
    pub fn position(&self) -> Position {
        self.item().origin()
    }

    /// The unit from which it came.
    #[must_use]
    pub fn unit(&self) -> UnitId {
        self.item().slots().unit()
    }

    /// Which attempt this is, from 1. It survives a crash of the process.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.item().attempt()
    }

    /// Whether it may have been delivered before.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        let item = self.item();
        item.incoming().redelivered || item.attempt() > 1 || item.slots().handed_back(item.index) > 0
    }

    /// When it was published, in milliseconds since the Unix epoch, if the broker says it.
    #[must_use]
    pub fn published_ms(&self) -> Option<u64> {
        self.item().incoming().published_ms
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &StreamName {
        &self.item().core().subscription.stream
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        &self.item().core().subscription.group
    }

    /// The member that has it.
    #[must_use]
    pub fn member(&self) -> &MemberName {
        &self.item().core().subscription.member
    }

    /// Whether it is known to be no longer ours: what is still done for it will be done by another member too.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.item().is_lost()
    }

    /// Waits until it is no longer ours. Never resolves while it is.
    ///
    /// # Cancel safety
    /// Cancel safe; made for `select!` beside long work.
    pub async fn lost(&self) {
        let core = self.item().core();
        loop {
            let losses = core.losses.notified();
            tokio::pin!(losses);
            losses.as_mut().enable();
            if self.is_lost() {
                return;
            }
            losses.await;
        }
    }

    /// Records that it is done, and returns at once: the ack is written with others, within 5 ms by default.
    ///
    /// `Ok` means recorded. That it is durable says [`ack_confirmed`](Self::ack_confirmed), or
    /// [`Consumer::commit`](crate::Consumer::commit) for all acks so far; an ack that came too late after all is
    /// [`Event::LeaseLost`](crate::Event::LeaseLost).
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] when it is known to be no longer ours. It is, or will be, with another member.
    pub fn ack(mut self) -> Result<()> {
        let item = self.item();
        let core = item.core();
        let acked = if item.is_lost() {
            core.counters.lease_lost.fetch_add(1, Ordering::Relaxed);
            Err(crate::engine::lease_lost())
        } else {
            item.slots().ack(item.index);
            Ok(())
        };
        core.settled();
        // In place: moving it out costs more than all of the above.
        self.item = None;
        acked
    }

    /// Acks, and waits until the broker has it.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] when it came too late: another member has, or will get, the message.
    /// [`ErrorKind::Unavailable`] when the connection was lost before the broker said that it has it, where nobody can find
    /// out later, as on RabbitMQ: either it counts, or the message comes again. Another kind when nothing can be settled
    /// any more; then the message comes again. While the broker is away this waits.
    ///
    /// # Cancel safety
    /// Dropped before it was polled, the delivery is unsettled and comes again; later, the ack is not taken back.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// # let mut consumer = client.consumer("orders").group("billing").start().await?;
    /// # client.publisher("orders").await?.publish("two apples").await?;
    /// let delivery = consumer.next().await.expect("a delivery")?;
    /// delivery.ack_confirmed().await?;
    /// assert_eq!(client.group_status("orders", "billing").await?.lag, Some(0));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ack_confirmed(self) -> Result<()> {
        self.settle_confirmed(Verdict::Ack).await
    }

    /// Hands it back: it is delivered again at once, to this member, as the same attempt.
    ///
    /// One that is handed back again and again waits a little longer each time, up to a second, so that others get
    /// their turn.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn nack(self) -> Result<()> {
        self.settle(Verdict::Nack)
    }

    /// Hands it back to the group, to be delivered after `delay`, as the same attempt. Survives a crash.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn nack_after(self, delay: Duration) -> Result<()> {
        self.settle(Verdict::NackAfter(delay))
    }

    /// A failed attempt: tried again by the consumer's retry policy, and dead-lettered after the last attempt. The
    /// reason is kept with the dead letter; put no secret into it.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn fail(self, reason: impl Into<String>) -> Result<()> {
        self.settle(Verdict::Fail(reason.into()))
    }

    /// Gives it up: to the group's dead letters, with the reason.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn reject(self, reason: impl Into<String>) -> Result<()> {
        self.settle(Verdict::Reject(reason.into()))
    }

    /// Settles by a verdict, and returns at once.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn settle(self, verdict: Verdict) -> Result<()> {
        if verdict == Verdict::Ack {
            return self.ack();
        }
        self.send(verdict, None)
    }

    /// Settles by a verdict, and waits until the broker has it. A [`Verdict::Nack`] stays in this process and needs no
    /// wait.
    ///
    /// # Errors
    /// As [`ack_confirmed`](Self::ack_confirmed).
    ///
    /// # Cancel safety
    /// Dropped before it was polled, the delivery is unsettled and comes again; later, the verdict is not taken back.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// use zephcast_core::Verdict;
    ///
    /// # let mut consumer = client.consumer("orders").group("billing").start().await?;
    /// # client.publisher("orders").await?.publish("two apples").await?;
    /// let delivery = consumer.next().await.expect("a delivery")?;
    /// delivery.settle_confirmed(Verdict::Reject("no such customer".into())).await?;
    /// assert_eq!(client.group_status("orders", "billing").await?.dead_letters, Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn settle_confirmed(mut self, verdict: Verdict) -> Result<()> {
        let (done, answer) = oneshot::channel();
        match verdict {
            Verdict::Nack => return self.nack(),
            Verdict::Ack => {
                let item = self.take()?;
                item.core().request(Request::AckConfirmed { slot: item.slot(), done });
            }
            other => self.send(other, Some(done))?,
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Notes a failed attempt without giving the delivery out of hand, for a retry that must keep its place.
    pub(crate) fn try_again_here(&self) {
        let item = self.item();
        let attempts = item.attempt();
        item.slots().next_attempt(item.index, now_ms());
        item.core().request(Request::Keep { slot: item.slot(), attempts });
    }

    fn send(mut self, verdict: Verdict, done: Option<oneshot::Sender<Result<()>>>) -> Result<()> {
        let item = self.take()?;
        let core = item.core().clone();
        let (attempts, retry) = (item.attempt(), core.settings.retry);
        let since = item.first_failed_ms();
        match verdict {
            Verdict::Ack | Verdict::Nack => core.hand_back(item),
            Verdict::NackAfter(delay) => {
                let attempts = attempts.saturating_sub(1);
                core.request(Request::Later { item, delay, attempts, first_failed_ms: since, done });
            }
            Verdict::Fail(_) if attempts < retry.attempts() => {
                let first_failed_ms = Some(since.unwrap_or_else(now_ms));
                core.request(Request::Later { item, delay: retry.delay(attempts), attempts, first_failed_ms, done });
            }
            Verdict::Fail(reason) | Verdict::Reject(reason) => {
                core.request(Request::Dead { item, attempts, failure: failure(reason, since), done });
            }
        }
        core.settled();
        Ok(())
    }

    /// Takes it out of its holder's hands, if it is still ours.
    fn take(&mut self) -> Result<Item> {
        let item = self.item.take().ok_or_else(closed)?;
        if item.is_lost() {
            item.core().settled();
            item.core().counters.lease_lost.fetch_add(1, Ordering::Relaxed);
            return Err(crate::engine::lease_lost());
        }
        Ok(item)
    }

    fn item(&self) -> &Item {
        self.item.as_ref().expect("only settling takes the item, and settling consumes the delivery")
    }
}

/// A failure of which the first may have been earlier.
pub(crate) fn failure(mut reason: String, first_failed_ms: Option<u64>) -> Failure {
    if reason.len() > MAX_REASON {
        let end = (0..=MAX_REASON).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        reason.truncate(end);
    }
    let now = now_ms();
    Failure { reason, first_failed_ms: first_failed_ms.unwrap_or(now), last_failed_ms: now }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "settle", "the consumer has ended; the message is delivered again")
}

impl Deref for Delivery {
    type Target = Message;

    fn deref(&self) -> &Message {
        self.item().message()
    }
}

/// Unsettled: the message is handed out again.
impl Drop for Delivery {
    #[inline]
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            drop_unsettled(item);
        }
    }
}

/// Apart from the above, so that a settled delivery is dropped without a call.
#[cold]
fn drop_unsettled(item: Item) {
    let core = item.core().clone();
    if !item.is_lost() {
        core.counters.dropped.fetch_add(1, Ordering::Relaxed);
        core.hand_back(item);
    }
    core.settled();
}

/// Shows metadata, never the payload.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Delivery");
        if let Some(item) = &self.item {
            shown.field("position", &self.position().to_string()).field("attempt", &item.attempt());
            shown.field("message", item.message());
        }
        shown.finish()
    }
}

/// Settling works from any task.
const _: fn() = || {
    fn movable<T: Send + 'static>() {}
    movable::<Delivery>();
};

//! How a consumer is set up.

use std::sync::Arc;
use std::time::Duration;

use crate::driver::{Driver, Subscription};
use crate::engine::{Isolation, Member, MemberCore, Settings};
use crate::{Capabilities, Consumer, Error, ErrorKind, GroupName, MemberName, Result, Retry, Start, StreamName};

/// The shortest lease: below it a busy machine alone would lose deliveries.
const MIN_LEASE: Duration = Duration::from_millis(100);

/// After how many acks they are written, where nothing waits for them.
const FLUSH_COUNT: u64 = 512;

/// Sets up a [`Consumer`]. Names are checked by [`start`](Self::start).
#[derive(Clone)]
#[must_use = "nothing happens before `start`"]
pub struct ConsumerBuilder {
    driver: Arc<dyn Driver>,
    isolation: Arc<Isolation>,
    stream: String,
    group: Option<String>,
    member: Option<String>,
    start: Start,
    pub(crate) lease: Duration,
    create: bool,
    pub(crate) prefetch: usize,
    /// The user's; what it is without one depends on the broker.
    flush_count: Option<u64>,
    pub(crate) settings: Settings,
}

impl ConsumerBuilder {
    pub(crate) fn new(driver: Arc<dyn Driver>, isolation: Arc<Isolation>, stream: &str) -> Self {
        Self {
            driver,
            isolation,
            stream: stream.to_owned(),
            group: None,
            member: None,
            start: Start::Earliest,
            lease: Duration::from_secs(30),
            create: true,
            prefetch: 1_000,
            flush_count: None,
            settings: Settings {
                prefetch_bytes: 16 << 20,
                retry: Retry::default(),
                drain: Duration::from_secs(30),
                flush_count: FLUSH_COUNT,
                flush_after: Duration::from_millis(5),
            },
        }
    }

    /// The group to join. Required.
    pub fn group(mut self, group: impl AsRef<str>) -> Self {
        self.group = Some(group.as_ref().to_owned());
        self
    }

    /// The member's name. Default: host, process id and a random suffix. A name that stays the same over restarts lets
    /// a restarted process take up at once what it held. When a member joins under the name of a living one, the earlier
    /// one ends with [`ErrorKind::Conflict`] and can settle nothing any more.
    pub fn member(mut self, member: impl AsRef<str>) -> Self {
        self.member = Some(member.as_ref().to_owned());
        self
    }

    /// Where the group starts if it does not exist yet. Default: at the earliest message.
    pub fn start_at(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// The most messages in flight, from fetch to settlement. Default 1,000, at least 1.
    pub fn prefetch(mut self, messages: usize) -> Self {
        self.prefetch = messages;
        self
    }

    /// The most bytes in flight, from fetch to settlement; one batch may exceed it. Default 16 MiB, at least 1.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.prefetch_bytes = bytes;
        self
    }

    /// How long this member may be silent before others take over what it holds. It is renewed at a third of that for
    /// as long as the process lives, however slow handlers are. All members of a group should have the same. Default
    /// 30 s, at least 100 ms.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// What [`Delivery::fail`](crate::Delivery::fail) leads to. Default: 5 attempts, from 200 ms on, doubling.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.settings.retry = retry;
        self
    }

    /// How long running handlers are waited for when units are given up, and when the consumer is dropped without
    /// [`close`](Consumer::close). Default 30 s.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.settings.drain = drain;
        self
    }

    /// When acks are written: after so many, or so long after the first, or at once when nothing else is to do.
    /// Default 512 and 5 ms; on RabbitMQ, which waits for them before it sends more, a quarter of the prefetch if that is
    /// less.
    pub fn ack_flush(mut self, count: u64, after: Duration) -> Self {
        self.flush_count = Some(count.max(1));
        self.settings.flush_after = after;
        self
    }

    /// Whether a missing stream is created with the broker's defaults. Default: it is.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    pub(crate) fn drain_time(&self) -> Duration {
        self.settings.drain
    }

    /// Joins the group. When this returns, the group exists: what is published from now on reaches it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name or a setting that cannot be used; [`ErrorKind::Unsupported`] for a start that a
    /// group of this broker cannot have; [`ErrorKind::NotFound`] for a missing stream that is not to be created; and what [every call of a broker](Driver#errors) can fail with. There is one
    /// attempt: [`ErrorKind::Unavailable`] when the broker is away just now.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped half way, the stream and the group may have been created, an earlier member of the same
    /// name may be over, and this one may be listed until its lease ends. Calling again joins.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> zephcast_core::Result<()> {
    /// # let client = zephcast_core::Client::new(zephcast_memory::MemoryBroker::new().driver());
    /// use zephcast_core::Start;
    ///
    /// let consumer = client.consumer("orders").group("billing").start_at(Start::Latest).prefetch(100).start().await?;
    /// let status = client.group_status("orders", "billing").await?;
    /// assert!(status.members.iter().any(|member| member.name == *consumer.member()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start(self) -> Result<Consumer> {
        let subscription = self.subscription()?;
        let capabilities = self.driver.capabilities();
        capabilities.names.check(&subscription.stream)?;
        capabilities.starts.check(subscription.start)?;
        let settings = Settings { flush_count: self.flush_count(capabilities), ..self.settings };
        let core = MemberCore::new(subscription.clone(), settings, capabilities.positions, self.isolation);
        let membership = self.driver.join(subscription).await?;
        let member = Member::start(core.clone(), membership);
        Ok(Consumer::new(core, member))
    }

    /// After how many acks they are written: as the user says, or else as is best for the broker.
    pub(crate) fn flush_count(&self, capabilities: &Capabilities) -> u64 {
        let quarter = u64::try_from(self.prefetch / 4).unwrap_or(u64::MAX).max(1);
        let best = if capabilities.counts_prefetch { quarter.min(FLUSH_COUNT) } else { FLUSH_COUNT };
        self.flush_count.unwrap_or(best)
    }

    fn subscription(&self) -> Result<Subscription> {
        let refuse = |why: String| Err(Error::new(ErrorKind::InvalidInput, "consume", why));
        let Some(group) = &self.group else { return refuse("a consumer needs a group: `.group(NAME)`".into()) };
        if self.prefetch == 0 || self.settings.prefetch_bytes == 0 {
            return refuse("a window of 0 takes nothing; the prefetch is at least 1 message and 1 byte".into());
        }
        if self.lease < MIN_LEASE {
            return refuse(format!(
                "a lease of {:?} ends before it is renewed; it is at least {MIN_LEASE:?}",
                self.lease
            ));
        }
        let mut subscription = Subscription::new(StreamName::new(&self.stream)?, GroupName::new(group)?);
        if let Some(member) = &self.member {
            subscription.member = MemberName::new(member)?;
        }
        subscription.start = self.start;
        subscription.lease = self.lease;
        subscription.create = self.create;
        subscription.prefetch = self.prefetch;
        Ok(subscription)
    }
}

impl std::fmt::Debug for ConsumerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerBuilder")
            .field("stream", &self.stream)
            .field("group", &self.group)
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}

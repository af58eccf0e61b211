//! What a case works with: a stream of its own, processes that can be broken, and bounded waits.

mod wait;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use zephcast_core::{
    Client, Consumer, ConsumerBuilder, Delivery, GroupName, MemberName, Message, Publisher, Receipt, StreamName,
};

use crate::History;
use crate::case::{Broken, Checked, ensure};
use crate::harness::{Harness, Line, Timing};
use crate::seam::Seam;
use crate::tamper::Tampered;

/// How long nothing more must come for it to be the end.
const LINGER: Duration = Duration::from_millis(300);

/// After so many acks at the latest, the lab's workers commit.
const COMMIT_EVERY: usize = 40;

/// The group that most cases use.
pub(crate) const GROUP: &str = "group";

/// A case's own corner of the broker. Cheap to clone.
#[derive(Clone)]
pub struct Lab {
    harness: Arc<dyn Harness>,
    stream: StreamName,
    timing: Timing,
}

/// A client as another process has it: a connection of its own, and switches that break what is between it and the
/// broker.
pub struct Process {
    client: Client,
    seam: Seam,
}

impl Process {
    /// What can be broken.
    #[must_use]
    pub fn seam(&self) -> &Seam {
        &self.seam
    }

    /// Kills it: see [`Seam::crash`].
    pub fn crash(&self) {
        self.seam.crash();
    }
}

impl Deref for Process {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Process")
    }
}

impl Lab {
    pub(crate) fn new(harness: Arc<dyn Harness>, promise: &str) -> Checked<Self> {
        let stream =
            StreamName::new(format!("conformance-{}-{:012x}", promise.to_lowercase(), fastrand::u64(..1 << 48)))?;
        let timing = harness.timing();
        Ok(Self { harness, stream, timing })
    }

    /// A stream that no other case uses.
    #[must_use]
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The harness.
    #[must_use]
    pub fn harness(&self) -> &dyn Harness {
        &*self.harness
    }

    /// How long a member may be silent.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.timing.lease
    }

    /// A new process.
    ///
    /// # Errors
    /// The harness cannot connect.
    ///
    /// # Cancel safety
    /// Cancel safe as far as [`Harness::connect`] is.
    pub async fn process(&self) -> Checked<Process> {
        Ok(process(self.harness.connect().await?))
    }

    /// A new process whose connection can be cut.
    ///
    /// # Errors
    /// The harness cannot connect.
    ///
    /// # Cancel safety
    /// Cancel safe as far as [`Harness::connect_over_line`] is.
    pub async fn process_over_line(&self) -> Checked<(Process, Arc<dyn Line>)> {
        let (driver, line) = self.harness.connect_over_line().await?;
        Ok((process(driver), line))
    }

    /// A member to be, with the harness's lease.
    pub fn member(&self, process: &Process, group: &str) -> ConsumerBuilder {
        process.consumer(self.stream.as_str()).group(group).lease(self.lease())
    }

    /// A member of the usual group that has joined.
    ///
    /// # Errors
    /// It cannot join.
    ///
    /// # Cancel safety
    /// As [`ConsumerBuilder::start`].
    pub async fn join(&self, process: &Process) -> Checked<Consumer> {
        self.within("joining", self.member(process, GROUP).start()).await?.map_err(Into::into)
    }

    /// A publisher to the stream.
    ///
    /// # Errors
    /// It cannot be opened.
    ///
    /// # Cancel safety
    /// Dropped, the stream may have been created.
    pub async fn publisher(&self, process: &Process) -> Checked<Publisher> {
        let opening = process.publisher(self.stream.as_str()).into_future();
        self.within("a publisher", opening).await?.map_err(Into::into)
    }

    /// Publishes these numbers as text in order, all with one key, so that they are in one unit. Returns the receipts.
    ///
    /// # Errors
    /// One of them has none.
    ///
    /// # Cancel safety
    /// As [`Publisher::publish_all`].
    pub async fn publish(&self, process: &Process, numbers: std::ops::Range<usize>) -> Checked<Vec<Receipt>> {
        let publisher = self.publisher(process).await?;
        let messages: Vec<Message> = numbers.map(|number| Message::new(number.to_string()).with_key("key")).collect();
        let outcomes = self.within("receipts", publisher.publish_all(messages)).await?;
        outcomes.into_iter().map(|outcome| outcome.map_err(Into::into)).collect()
    }

    /// Publishes `count` messages of a history over 16 keys.
    ///
    /// # Errors
    /// One of them has no receipt.
    ///
    /// # Cancel safety
    /// As [`Publisher::publish_all`]; the history then has none of the outcomes.
    pub async fn publish_history(&self, process: &Process, history: &History, count: usize) -> Checked {
        let publisher = self.publisher(process).await?;
        let messages: Vec<_> = (0..count).map(|n| history.message(64).with_key(format!("key-{}", n % 16))).collect();
        let outcomes = self.within("receipts", publisher.publish_all(messages.clone())).await?;
        for (message, outcome) in messages.iter().zip(outcomes) {
            history.published(message.payload(), &outcome);
            outcome?;
        }
        Ok(())
    }

    /// Lets these members ack whatever comes until everything published has been delivered, and a little longer, so
    /// that what comes twice is seen. Commits now and then, and tells the history what is settled since.
    ///
    /// # Errors
    /// Not everything came.
    ///
    /// # Cancel safety
    /// Cancel safe: what was taken is in the history and acked.
    pub async fn work(&self, members: &mut [Consumer], history: &History) -> Checked {
        let late = tokio::time::Instant::now() + self.timing.patience;
        loop {
            let was_complete = history.is_complete();
            let acked =
                self.ack_some(members, history, if was_complete { LINGER } else { self.timing.patience }).await?;
            for member in &*members {
                self.within("the commit", member.commit()).await??;
            }
            acked.iter().for_each(|(member, number)| history.settled(member.as_str(), *number));
            match (acked.is_empty(), was_complete) {
                (true, true) => return Ok(()),
                (true, false) => return Err(Broken::new(format!("not everything came: {}", history.findings()))),
                (false, _) => ensure!(tokio::time::Instant::now() < late, "no end: {}", history.findings()),
            }
        }
    }

    /// Acks what comes until nothing does for `wait`, all of the history was delivered, or it is time for a commit.
    async fn ack_some(
        &self,
        members: &mut [Consumer],
        history: &History,
        wait: Duration,
    ) -> Checked<Vec<(MemberName, u64)>> {
        let was_complete = history.is_complete();
        let mut deliveries = futures_util::stream::select_all(members.iter_mut());
        let mut acked = Vec::new();
        for _ in 0..COMMIT_EVERY {
            match tokio::time::timeout(wait, deliveries.next()).await {
                Ok(Some(delivery)) => {
                    let delivery = delivery?;
                    let member = delivery.member().clone();
                    acked.extend(history.delivered(member.as_str(), delivery.payload()).map(|number| (member, number)));
                    delivery.ack()?;
                }
                Ok(None) => return Err(Broken::new("every member ended")),
                Err(_) => break,
            }
            if !was_complete && history.is_complete() {
                break;
            }
        }
        Ok(acked)
    }

    /// The group's name as the administration wants it.
    pub(crate) fn group(&self) -> Checked<GroupName> {
        Ok(GroupName::new(GROUP)?)
    }
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").field("stream", &self.stream).finish()
    }
}

fn process(driver: Arc<dyn zephcast_core::driver::Driver>) -> Process {
    let seam = Seam::new();
    let client = Client::new(Arc::new(Tampered::new(driver, Arc::new(seam.clone()))));
    Process { client, seam }
}

/// The number that [`Lab::publish`] put into a message.
pub(crate) fn number(delivery: &Delivery) -> Checked<usize> {
    Ok(delivery.payload_str()?.parse()?)
}

/// The numbers of several.
pub(crate) fn numbers(deliveries: &[Delivery]) -> Checked<Vec<usize>> {
    deliveries.iter().map(number).collect()
}

/// The same in ascending order.
pub(crate) fn sorted(mut numbers: Vec<usize>) -> Vec<usize> {
    numbers.sort_unstable();
    numbers
}

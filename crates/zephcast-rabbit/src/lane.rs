//! A channel on which messages are published with confirmation, many at a time and in order.
//!
//! One task owns the channel: the client library matches confirms to messages by the order in which it was called, and
//! two callers at once would get each other's. It also hands a message that no queue took to whatever confirm comes
//! next; which message that was is found by its [`Mark`].

mod clock;
mod on_the_way;
mod outcome;
mod ready;
mod suspicion;
mod unwritten;
mod verdicts;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::{mpsc, oneshot};
use zephcast_core::Result;
use zephcast_core::driver::LONGEST;

use self::clock::Clock;
use self::on_the_way::OnTheWay;
pub(crate) use self::outcome::Outcome;
pub(crate) use self::suspicion::LARGE;
use self::suspicion::Suspicion;
use crate::connection::Connection;
use crate::link::{CallFailure, Link, Valve};
use crate::properties::Outgoing;

/// What the task is to do.
enum Job {
    Publish(Batch),
    /// To say when everything before it has its outcome.
    Finish(oneshot::Sender<()>),
}

/// Messages that were handed in together.
struct Batch {
    /// Keeps the connection until they have their outcomes, whoever else has no more need of it.
    link: Arc<Link>,
    messages: Vec<Outgoing>,
    done: oneshot::Sender<Vec<Outcome>>,
}

impl Job {
    /// Answers when nothing more is sent.
    fn refuse(self) {
        match self {
            Self::Publish(Batch { messages, done, .. }) => not_sent(&messages, done),
            // Whoever asked may have gone away.
            Self::Finish(done) => drop(done.send(())),
        }
    }
}

/// Answers for messages of which none is sent.
fn not_sent(messages: &[Outgoing], done: oneshot::Sender<Vec<Outcome>>) {
    // Whoever handed them in may have gone away.
    let _ = done.send(messages.iter().map(|_| Outcome::NotSent).collect());
}

/// The way to the task, which ends when this is dropped and everything has its outcome.
pub(crate) struct Lane {
    /// Kept by its connection, and by what is on its way.
    link: Weak<Link>,
    valve: Valve,
    frame_max: usize,
    jobs: mpsc::UnboundedSender<Job>,
    /// Set when a queue refused a message.
    refused: Arc<AtomicBool>,
}

impl Lane {
    /// Opens a channel with confirms.
    pub(crate) async fn open(connection: &Arc<Connection>, operation: &'static str) -> Result<Self> {
        let link = connection.link(operation).await?;
        let channel = open(&link).await.map_err(|failure| connection.failed(&link, operation, failure))?;
        let (jobs, todo) = mpsc::unbounded_channel();
        let refused = Arc::new(AtomicBool::new(false));
        let suspicion = Suspicion::new(connection);
        let clock = Clock::new(connection.config().request_timeout.min(LONGEST), link.taken().clone());
        let (of, valve, frame_max, link) =
            (Arc::downgrade(connection), link.valve(), link.frame_max(), Arc::downgrade(&link));
        let weak = link.clone();
        let give_up = move || {
            if let (Some(connection), Some(link)) = (of.upgrade(), weak.upgrade()) {
                connection.give_up(&link);
            }
        };
        tokio::spawn(run(channel, todo, suspicion, refused.clone(), clock, valve.clone(), give_up));
        Ok(Self { link, valve, frame_max, jobs, refused })
    }

    /// Whether nothing can be published here any more.
    pub(crate) fn is_over(&self) -> bool {
        self.jobs.is_closed() || self.link.upgrade().is_none_or(|link| link.is_over())
    }

    /// Whether what comes next belongs on another lane, once everything here has its outcome.
    ///
    /// So it does when a queue refused a message. The server's side of a channel remembers the refusal: where a quorum queue
    /// had lost its leader, all that follows on the channel is refused, also when there is a new leader.
    pub(crate) fn is_worn(&self) -> bool {
        self.refused.load(Ordering::Relaxed) || self.link.upgrade().is_none_or(|link| link.is_used_up())
    }

    /// Waits until everything that was handed in has its outcome, or never will. Who gives that up may wait again.
    pub(crate) async fn finished(&self) {
        let (done, finished) = oneshot::channel();
        // A task that takes nothing more, or is gone, has answered for everything.
        if self.jobs.send(Job::Finish(done)).is_ok() {
            let _ = finished.await;
        }
    }

    /// Follows its connection.
    pub(crate) fn valve(&self) -> &Valve {
        &self.valve
    }

    /// Why the server takes nothing from its connection for now, if so.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.link.upgrade().and_then(|link| link.blocked())
    }

    /// How large a frame of its connection may be.
    pub(crate) fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// Hands messages in; they are stored in the order of these calls. The outcomes come when all of them are known, or when
    /// the server was silent for the request timeout, which it may be for as long as it says that it takes nothing.
    pub(crate) fn publish(&self, messages: Vec<Outgoing>) -> oneshot::Receiver<Vec<Outcome>> {
        let (done, outcomes) = oneshot::channel();
        if messages.is_empty() {
            let _ = done.send(Vec::new());
            return outcomes;
        }
        let Some(link) = self.link.upgrade() else {
            not_sent(&messages, done);
            return outcomes;
        };
        if let Err(mpsc::error::SendError(job)) = self.jobs.send(Job::Publish(Batch { link, messages, done })) {
            job.refuse();
        }
        outcomes
    }
}

/// A channel with confirms.
async fn open(link: &Link) -> Result<Channel, CallFailure> {
    let channel = link.channel().await?;
    link.answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// Ends when there is no more to do, no channel, or no answer in time: then the connection is given up.
async fn run(
    channel: Channel,
    mut todo: mpsc::UnboundedReceiver<Job>,
    suspicion: Suspicion,
    refused: Arc<AtomicBool>,
    clock: Clock,
    valve: Valve,
    give_up: impl FnOnce(),
) {
    let mut on_the_way = OnTheWay::new(Arc::new(channel), on_the_way::write, &suspicion, &clock, refused);
    let is_silent = tokio::select! {
        biased;
        () = on_the_way.work(&mut todo) => false,
        () = clock.silence(|takes| valve.until(takes)) => true,
    };
    // Before anything is answered: what comes again because of an answer goes elsewhere.
    todo.close();
    if is_silent {
        give_up();
        on_the_way.give_up();
    }
    while let Some(job) = todo.recv().await {
        job.refuse();
    }
}

#[cfg(test)]
mod tests;

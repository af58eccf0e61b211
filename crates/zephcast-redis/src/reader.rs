//! The blocking read: a task of its own on a connection of its own, whose reads are never dropped half way.

use std::sync::Arc;
use std::time::Duration;

use fred::types::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zephcast_core::Result;

use crate::connection::Connection;
use crate::error::CallFailure;
use crate::link::Link;
use crate::member::{Member, lock};
use crate::reply::{Frame, number};

/// How long the server lets a read wait. An interrupt ends it earlier.
const BLOCK: Duration = Duration::from_millis(1_500);
/// The longest that an answer may usually take beyond that before the connection counts as broken.
const LONGEST_GRACE: Duration = Duration::from_secs(5);

/// What a read brought.
pub(crate) struct Reading {
    pub(crate) answer: Result<Frame, CallFailure>,
    /// The most entries that were asked for, of each stream.
    pub(crate) most: usize,
    /// Renewals when it was asked for, see [`Fence::arrived`](crate::lease::Fence::arrived).
    pub(crate) asked_at: u64,
}

/// Asks a task for reads, one at a time. Dropping it ends the task and closes its connection.
pub(crate) struct Reader {
    requests: mpsc::Sender<(usize, u32)>,
    readings: mpsc::Receiver<Reading>,
    /// Whether a read was asked for and has not been received.
    waiting: bool,
    /// The most entries of each stream that the last read was asked for.
    asked: usize,
    task: JoinHandle<()>,
}

impl Reader {
    /// Connects, one attempt, and starts the task.
    pub(crate) async fn open(connection: &Connection, member: Arc<Member>) -> Result<Self> {
        let link = connection.link("fetch").await?;
        // Only for ending a read early: a user without the right to ask waits for its end.
        let id = link.call("CLIENT", Some(&member.keys.stream), vec!["ID".into()]).await;
        let id = id.ok().and_then(|id| number("fetch", &id).ok()).unwrap_or(-1);
        let (requests, receiver) = mpsc::channel(1);
        let (sender, readings) = mpsc::channel(1);
        let task = tokio::spawn(serve(link, member, id, receiver, sender));
        Ok(Self { requests, readings, waiting: false, asked: 0, task })
    }

    /// Waits for the read that is under way, or asks for one of at most `count` entries of each stream, whose answer may
    /// take `patience` times the usual.
    ///
    /// Cancel safe: what a read brings waits for the next call.
    pub(crate) async fn read(&mut self, count: usize, patience: u32) -> Option<Reading> {
        self.ask(count, patience);
        let reading = self.readings.recv().await;
        self.waiting = false;
        reading
    }

    /// Asks for a read unless one is under way. It is taken by [`read`](Self::read).
    pub(crate) fn ask(&mut self, count: usize, patience: u32) {
        // Of an ended task the next reading tells. There is always room: one read at a time.
        if !self.waiting && self.requests.try_send((count, patience)).is_ok() {
            (self.waiting, self.asked) = (true, count);
        }
    }

    /// The most entries of each stream that the last read was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says that a read is under way, until dropped.
struct Announced(Arc<Member>);

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.reading.send_replace(None);
    }
}

async fn serve(
    link: Arc<Link>,
    member: Arc<Member>,
    id: i64,
    mut requests: mpsc::Receiver<(usize, u32)>,
    readings: mpsc::Sender<Reading>,
) {
    let block = BLOCK.min(member.lease / 2);
    let grace = member.control.config().command_timeout.min(LONGEST_GRACE);
    while let Some((count, patience)) = requests.recv().await {
        let asked_at = lock(&member.fence).renewals();
        let keys = &member.keys;
        let arguments: Vec<Value> = vec![
            "GROUP".into(),
            keys.group.as_str().into(),
            member.name.as_str().into(),
            "COUNT".into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
            "BLOCK".into(),
            i64::try_from(block.as_millis()).unwrap_or(1).max(1).into(),
            "STREAMS".into(),
            keys.retry.as_str().into(),
            keys.stream.as_str().into(),
            ">".into(),
            ">".into(),
        ];
        member.reading.send_replace(Some(id));
        let announced = Announced(member.clone());
        let answer = link.call_within(block + grace * patience, "XREADGROUP", Some(&keys.stream), arguments).await;
        drop(announced);
        if readings.send(Reading { answer, most: count, asked_at }).await.is_err() {
            return;
        }
    }
}

/// Ends a read that is under way, as far as the server lets us; otherwise it ends by itself within its time.
pub(crate) async fn unblock(member: &Member) {
    /// The server may get the request to end a read before the read itself.
    const PATIENCE: Duration = Duration::from_millis(20);
    /// How long all requests together may take: a server that is away must not eat the time that others need.
    const ASKING: Duration = Duration::from_millis(100);
    let mut reading = member.reading.subscribe();
    let asking = async {
        loop {
            let Some(id) = *reading.borrow_and_update() else { return };
            let request = vec!["UNBLOCK".into(), id.into()];
            let asked = member.control.call("fetch", "CLIENT", Some(&member.keys.stream), request).await;
            if asked.is_err() || tokio::time::timeout(PATIENCE, reading.wait_for(Option::is_none)).await.is_ok() {
                return;
            }
        }
    };
    // Out of patience or of rights, or ended: it is waited for all the same.
    let _ = tokio::time::timeout(ASKING, asking).await;
    let _ = tokio::time::timeout(BLOCK * 2, reading.wait_for(Option::is_none)).await;
}

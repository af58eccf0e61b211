//! Looks after the group in the background: moves what is due to where it is read, and finds what others gave back or
//! left behind when they died.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use zephcast_core::Result;

use crate::member::{Member, lock};
use crate::reply::{count, elements, number};
use crate::scripts::{MOVE_DUE, SCAN};

const OPERATION: &str = "look after the group";
/// How often at most, each member looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The most entries of one consumer that one look moves, and the most due messages of one move.
const PAGE: i64 = 100;
/// For how long what cannot be moved is left alone.
const PUT_OFF: Duration = Duration::from_secs(3_600);
/// The server's clock counts milliseconds: a message is due within the next one.
const CLOCK_GRAIN: Duration = Duration::from_millis(1);

/// The task of one member. Dropping it ends the task.
pub(crate) struct Keeper(JoinHandle<()>);

impl Keeper {
    pub(crate) fn start(member: Arc<Member>) -> Self {
        Self(tokio::spawn(run(member)))
    }

    pub(crate) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(member: Arc<Member>) {
    let pause = (member.lease / 3).min(LONGEST_PAUSE);
    let mut next_look = Instant::now();
    let mut next_thorough_look = Instant::now() + member.lease;
    // When it was last said that a look failed; none when the last one did not.
    let mut warned = None;
    loop {
        let due = *lock(&member.due);
        tokio::select! {
            () = tokio::time::sleep_until(due.map_or(next_look, |due| due.min(next_look))) => {}
            () = member.scheduled.notified() => continue,
        }
        let now = Instant::now();
        // One attempt a pause where nobody else needs the connection.
        let mut done = member.control.link(OPERATION).await.map(drop);
        if let Err(error) = done {
            tracing::debug!(%error, stream = %member.keys.stream, "no look at the group without a connection");
            next_look = Instant::now() + jittered(pause);
            *lock(&member.due) = None;
            continue;
        }
        if due.is_some_and(|due| due <= now) {
            done = move_due(&member).await;
        }
        if now >= next_look {
            let thorough = now >= next_thorough_look;
            if thorough {
                next_thorough_look = now + member.lease;
            }
            done = done.and(look(&member, thorough).await);
            next_look = Instant::now() + jittered(pause);
        }
        match done {
            Ok(()) => warned = None,
            Err(error) if warned.is_none_or(|at: Instant| at.elapsed() >= member.lease) => {
                warned = Some(Instant::now());
                tracing::warn!(%error, cause = error.source().map(tracing::field::display),
                    stream = %member.keys.stream, group = %member.keys.group,
                    "nobody is taken over from and nothing that is due is moved, as far as this member can");
            }
            Err(error) => tracing::debug!(%error, stream = %member.keys.stream, "will look again"),
        }
    }
}

/// Members of a group do not look all at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
}

async fn move_due(member: &Member) -> Result<()> {
    // Whatever is scheduled from now on counts again.
    *lock(&member.due) = None;
    let keys = &member.keys;
    loop {
        let from_to = [keys.delayed.as_str(), &keys.retry];
        let put_off_ms = i64::try_from(PUT_OFF.as_millis()).unwrap_or(i64::MAX);
        let moving = member.control.run(OPERATION, &MOVE_DUE, &from_to, || vec![PAGE.into(), put_off_ms.into()]);
        let [moved, due_in, put_off] = elements(OPERATION, moving.await?)?;
        let put_off = count(OPERATION, &put_off)?;
        if put_off > 0 {
            tracing::warn!(put_off, key = %keys.delayed, "what is no message, or has too many fields, stays there");
        }
        if number(OPERATION, &moved)? < PAGE {
            expect_due(member, number(OPERATION, &due_in)?);
            return Ok(());
        }
    }
}

async fn look(member: &Member, thorough: bool) -> Result<()> {
    let thorough = if thorough { "1" } else { "0" };
    loop {
        let delayed = [member.keys.delayed.as_str()];
        let looking =
            member.run(OPERATION, &SCAN, &delayed, || vec![member.lease_ms().into(), PAGE.into(), thorough.into()]);
        let [returned, suspects, gone, more, due_in] = elements(OPERATION, looking.await?)?;
        let (returned, suspects) = (count(OPERATION, &returned)?, count(OPERATION, &suspects)?);
        member.parked.found(returned, suspects);
        member.lost_from_stream(count(OPERATION, &gone)?);
        if returned + suspects > 0 {
            member.news.notify_one();
        }
        expect_due(member, number(OPERATION, &due_in)?);
        if count(OPERATION, &more)? == 0 {
            return Ok(());
        }
    }
}

/// The server says in how many milliseconds something is due; a negative number says never.
fn expect_due(member: &Member, due_in: i64) {
    if let Ok(milliseconds) = u64::try_from(due_in) {
        member.schedule(Duration::from_millis(milliseconds) + CLOCK_GRAIN);
    }
}

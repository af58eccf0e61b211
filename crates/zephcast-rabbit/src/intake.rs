//! The receiving half of a member.

mod blockage;
mod bound;
mod early;
pub(crate) mod judging;
mod suspects;

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use zephcast_core::driver::{Batch, Credit, Fetched, Intake};
use zephcast_core::{Error, ErrorKind, Event, Result};

use self::blockage::Blockage;
use self::bound::Bound;
use self::suspects::Lookout;
use crate::clock::now_ms;
use crate::error::translate;
use crate::inbox::End;
use crate::leaving;
use crate::member::{Member, SUSPECTS, UNIT};
use crate::pace::Turn;
use crate::session::Session;

const OPERATION: &str = "fetch";

/// The most messages of one batch.
const BATCH: usize = 512;

/// Where a member's messages come from.
pub(crate) struct RabbitIntake {
    member: Arc<Member>,
    /// What is to be told first.
    news: VecDeque<Fetched>,
    /// What ended the last session, to be told after the news.
    failed: Option<Error>,
    /// Since when something is in doubt.
    in_doubt_since: Option<Instant>,
    lookout: Lookout,
    blockage: Blockage,
    /// When the group was bound to its stream last.
    bound: Instant,
    /// What was found then.
    bound_last: Bound,
}

impl RabbitIntake {
    /// Of a member that has just subscribed.
    pub(crate) fn new(member: Arc<Member>) -> Self {
        let news = VecDeque::from([Fetched::Assigned(vec![UNIT])]);
        Self {
            blockage: Blockage::new(&member.brokers.publishing),
            member,
            news,
            failed: None,
            in_doubt_since: None,
            lookout: Lookout::default(),
            bound: Instant::now(),
            bound_last: Bound::default(),
        }
    }

    /// The session in which messages come, or a new one after the end of the last: one attempt. `None` when there is news.
    async fn session(&mut self) -> Result<Option<Arc<Session>>> {
        let Some(session) = self.member.session() else {
            let is_new = self.member.open(OPERATION).await?;
            self.lookout = Lookout::default();
            (self.bound, self.bound_last) = (Instant::now(), Bound::default());
            if is_new {
                self.news.push_back(Fetched::Event(Event::Recreated));
            }
            self.news.push_back(Fetched::Assigned(vec![UNIT]));
            return Ok(None);
        };
        let end = session.end();
        if end.is_none() && !session.is_over() {
            return Ok(Some(session));
        }
        self.lose(&session);
        match end {
            Some(End::Failed(source)) => {
                let error = translate(OPERATION, source);
                tracing::debug!(%error, "the consumer ended");
                if error.is_retryable() { Ok(None) } else { Err(error) }
            }
            Some(End::Cancelled) | None => Ok(None),
        }
    }

    /// As much as there is room for of what has come.
    async fn take(&mut self, session: &Session, credit: Credit) -> Option<Fetched> {
        let arrivals = session.take(credit.messages.min(BATCH), credit.bytes).await;
        if arrivals.is_empty() {
            return None;
        }
        self.lookout.handed_out();
        let incoming = |arrival: crate::arrival::Arrival| {
            let token = session.token(arrival.tag);
            arrival.into_incoming(token)
        };
        let messages = arrivals.into_iter().map(incoming).collect();
        Some(Fetched::Batch(Batch { unit: UNIT, messages }))
    }

    /// What comes next in this session; `None` when that is to be asked once more.
    async fn next(&mut self, session: &Arc<Session>, credit: Credit) -> Result<Option<Fetched>> {
        if credit.suspect {
            return self.one_suspect(session).await;
        }
        session.look();
        // Whoever has room for nothing is full, or leaves.
        if credit.messages > 0
            && let Some(turn) = self.member.pace.next(&self.member.subscription, session, credit.bytes)
            && self.turn(session, turn).await?
        {
            return Ok(None);
        }
        self.delay_again(session).await?;
        if credit.messages > 0 {
            if session.inbox.begins_in_doubt() {
                // It asks on other connections, and how long those take is no reason to keep what is lost.
                let is_judged = tokio::select! {
                    biased;
                    () = session.link.ended() => return Ok(None),
                    is_judged = self.judge(session) => is_judged?,
                };
                if !is_judged {
                    return Ok(Some(Fetched::Idle));
                }
            }
            if self.lookout.is_due() {
                self.look_for_suspects(session).await?;
                return Ok(None);
            }
            if session.suspects.has_untried() {
                self.lookout.found();
            }
            if self.lookout.has_turn(session.inbox.is_empty()) {
                return Ok(Some(Fetched::Suspects));
            }
            if let Some(batch) = self.take(session, credit).await {
                return Ok(Some(batch));
            }
            // What has to be copied first waits until the server takes messages again.
            if session.inbox.is_held_up(now_ms()) && !self.blockage.is_there() {
                return Ok(None);
            }
        }
        let next_look = self.lookout.next();
        tokio::select! {
            biased;
            () = self.member.interrupted.notified() => return Ok(Some(Fetched::Idle)),
            () = session.more() => return Ok(None),
            () = session.link.ended() => return Ok(None),
            () = self.blockage.changed() => return Ok(None),
            // Whoever has no room has none for suspects.
            () = tokio::time::sleep_until(next_look), if credit.messages > 0 => {}
        }
        self.look_for_suspects(session).await?;
        self.keep_bound(session).await;
        if !self.lookout.has_turn(session.inbox.is_empty()) {
            return Ok(Some(Fetched::Idle));
        }
        Ok(Some(Fetched::Suspects))
    }

    /// Sees to it that the window is as large as it has to be; `false` when that is put off.
    async fn turn(&self, session: &Arc<Session>, turn: Turn) -> Result<bool> {
        let member = &*self.member;
        let prefetch = match turn {
            Turn::Grow(prefetch) => prefetch,
            Turn::Shrink(prefetch) => {
                match self.unless_needed(session, leaving::pardon(member, session)).await {
                    Some(Ok(())) => {}
                    Some(Err(error)) => tracing::debug!(%error, "what is on its way is not pardoned"),
                    None => return Ok(false),
                }
                prefetch
            }
            // A suspect is with its user until it is settled.
            Turn::Rejoin if !session.suspects.held().is_empty() => return Ok(false),
            Turn::Rejoin => {
                tracing::debug!(stream = %member.names.stream, "messages are too large for the window: joining anew");
                return leaving::give_everything_back(member, session, &[]).await.map(|()| true);
            }
        };
        let set = session.set_prefetch(member.brokers.control.config(), member.subscription.member.as_str(), prefetch);
        set.await.map(|()| true).map_err(|failure| member.failed(session, OPERATION, failure))
    }

    /// Waits for what is done on another connection, unless something else is to be done: that is not kept waiting.
    async fn unless_needed<T>(&self, session: &Session, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.member.interrupted.notified() => {
                self.member.interrupted.notify_one();
                None
            }
            () = session.link.ended() => None,
            done = work => Some(done),
        }
    }

    /// What was not stored since the server takes no messages for now waits until it does, and is no failure.
    fn unless_blocked(&self, stored: Result<()>) -> Result<()> {
        match stored {
            Err(error) if error.kind() == ErrorKind::Blocked && self.blockage.is_there() => Ok(()),
            stored => stored,
        }
    }

    /// What the session held is lost.
    fn lose(&mut self, session: &Arc<Session>) {
        self.member.lose(session);
        self.in_doubt_since = None;
        self.news.push_back(Fetched::Lost(vec![UNIT, SUSPECTS]));
    }
}

#[async_trait]
impl Intake for RabbitIntake {
    async fn fetch(&mut self, credit: Credit) -> Result<Fetched> {
        loop {
            if let Some(news) = self.news.pop_front() {
                if matches!(news, Fetched::Assigned(_)) {
                    // That what came before was lost was told by an earlier call.
                    self.member.lost_unsynced.note_known();
                }
                return Ok(news);
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if let Some(event) = self.member.next_news().or_else(|| self.blockage.news()) {
                return Ok(Fetched::Event(event));
            }
            let Some(session) = self.session().await? else { continue };
            match self.next(&session, credit).await {
                Ok(Some(fetched)) => return Ok(fetched),
                Ok(None) => {}
                Err(error) if session.is_over() => {
                    // Whoever hears of a failure waits before the next call, and what was held is lost by now.
                    self.lose(&session);
                    self.failed = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;

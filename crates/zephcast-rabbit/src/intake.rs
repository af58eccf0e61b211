//! The receiving half of a member.

mod early;
mod judging;
mod suspects;

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use zephcast_core::driver::{Batch, Credit, Fetched, Intake};
use zephcast_core::{Event, Result};

use self::suspects::Lookout;
use crate::error::translate;
use crate::inbox::End;
use crate::member::{Member, SUSPECTS, UNIT};
use crate::session::Session;

const OPERATION: &str = "fetch";

/// The most messages of one batch.
const BATCH: usize = 512;

/// Where a member's messages come from.
pub(crate) struct RabbitIntake {
    member: Arc<Member>,
    /// What is to be told first.
    news: VecDeque<Fetched>,
    /// Since when something is in doubt.
    in_doubt_since: Option<Instant>,
    lookout: Lookout,
}

impl RabbitIntake {
    /// Of a member that has just subscribed.
    pub(crate) fn new(member: Arc<Member>) -> Self {
        let news = VecDeque::from([Fetched::Assigned(vec![UNIT])]);
        Self { member, news, in_doubt_since: None, lookout: Lookout::default() }
    }

    /// The session in which messages come, or a new one after the end of the last: one attempt. `None` when there is news.
    async fn session(&mut self) -> Result<Option<Arc<Session>>> {
        let Some(session) = self.member.session() else {
            let is_new = self.member.open(OPERATION).await?;
            self.lookout = Lookout::default();
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
        self.member.lose(&session);
        self.in_doubt_since = None;
        self.news.push_back(Fetched::Lost(vec![UNIT, SUSPECTS]));
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
}

#[async_trait]
impl Intake for RabbitIntake {
    async fn fetch(&mut self, credit: Credit) -> Result<Fetched> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Ok(news);
            }
            let Some(session) = self.session().await? else { continue };
            if credit.suspect {
                match self.one_suspect(&session).await? {
                    Some(fetched) => return Ok(fetched),
                    None => continue,
                }
            }
            session.look();
            if let Some(prefetch) = self.member.pace.next(&self.member.subscription, &session, credit.bytes) {
                let (config, member) = (self.member.control.config(), self.member.subscription.member.as_str());
                let set = session.set_prefetch(config, member, prefetch).await;
                set.map_err(|failure| self.member.failed(&session, OPERATION, failure))?;
                continue;
            }
            self.delay_again(&session).await?;
            if credit.messages > 0 {
                if session.inbox.begins_in_doubt() && !self.judge(&session).await? {
                    return Ok(Fetched::Idle);
                }
                if self.lookout.is_due() {
                    self.look_for_suspects(&session).await?;
                    continue;
                }
                if self.lookout.has_turn(session.inbox.is_empty()) {
                    return Ok(Fetched::Suspects);
                }
                if let Some(batch) = self.take(&session, credit).await {
                    return Ok(batch);
                }
                if session.inbox.begins_in_doubt() {
                    continue;
                }
            }
            let next_look = self.lookout.next();
            tokio::select! {
                biased;
                () = self.member.interrupted.notified() => return Ok(Fetched::Idle),
                () = session.more() => continue,
                () = session.link.ended() => continue,
                () = tokio::time::sleep_until(next_look) => {}
            }
            if credit.messages == 0 {
                self.lookout.put_off();
                continue;
            }
            self.look_for_suspects(&session).await?;
            if !self.lookout.has_turn(session.inbox.is_empty()) {
                return Ok(Fetched::Idle);
            }
            return Ok(Fetched::Suspects);
        }
    }
}

//! Settlements that are no acks: later, dead, kept, given back.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use fred::types::{Key, Value};
use zephcast_core::driver::{Disposition, Failure, LONGEST, Returned};
use zephcast_core::{ErrorKind, Message, Position, Result, Token};

use super::{PAGE, RedisSettler, places};
use crate::entry::{self, ATTEMPTS, FIRST_FAILED, Fields, GROUP, LAST_FAILED, MAX_FIELDS, ORIGIN, REASON, SOURCE};
use crate::error::error;
use crate::member::{RETURNED, SUSPECTS, Suspect, lock, mark};
use crate::reply::{count, elements, number};
use crate::scripts::{DEAD, GIVE, LATER, LEAVE, Script};
use crate::token::{id, is_retried};

impl RedisSettler {
    /// Settles one delivery as later or dead; returns it when it came too late.
    pub(super) async fn settle_one(
        &self,
        token: Token,
        disposition: &Disposition,
        again: bool,
    ) -> Result<Option<Token>> {
        let keys = &self.member.keys;
        let done = match disposition {
            Disposition::Later { delay, attempts, message, origin, first_failed_ms, .. } => {
                let fields = self.later_fields(token, message, *origin, *attempts, *first_failed_ms);
                let delay_ms = i64::try_from(delay.min(&LONGEST).as_millis()).unwrap_or(i64::MAX);
                let way = WayOut {
                    operation: "schedule for later",
                    script: &LATER,
                    to: &keys.delayed,
                    delay_ms: Some(delay_ms),
                };
                let done = self.take_out(way, token, again, &fields).await?;
                self.member.schedule(*delay);
                done
            }
            Disposition::Dead { message, origin, attempts, failure, .. } => {
                let fields = self.dead_fields(message, *origin, *attempts, failure);
                let way = WayOut { operation: "dead-letter", script: &DEAD, to: &keys.dead, delay_ms: None };
                self.take_out(way, token, again, &fields).await?
            }
            Disposition::Keep { .. } | Disposition::Return { .. } => true,
        };
        Ok((!done).then_some(token))
    }

    /// Writes an entry elsewhere and settles it, at once; whether it was still this member's.
    ///
    /// # Errors
    /// `TooLarge`, for good, when it has more fields than a script can hand to one command: it can be acked only.
    async fn take_out(&self, way: WayOut<'_>, token: Token, again: bool, fields: &Fields) -> Result<bool> {
        let WayOut { operation, script, to, delay_ms } = way;
        if fields.len() > MAX_FIELDS {
            let text =
                format!("the entry {} has {} fields, at most {MAX_FIELDS} can be moved", id(token), fields.len());
            return Err(error(ErrorKind::TooLarge, operation, text));
        }
        let gone = lock(&self.member.gone).contains(&token);
        let to = [to];
        let answer = self.member.run(operation, script, &to, || {
            let mut arguments: Vec<Value> = vec![mark(is_retried(token)), id(token).into(), mark(again), mark(gone)];
            arguments.extend(delay_ms.map(Value::from));
            arguments.extend(fields.iter().flat_map(|(name, value)| [Value::from(name.clone()), value.clone()]));
            arguments
        });
        let done = number(operation, &answer.await?)? == 1;
        lock(&self.member.gone).remove(&token);
        Ok(done)
    }

    fn later_fields(
        &self,
        token: Token,
        message: &Message,
        origin: Position,
        attempts: u32,
        first_failed_ms: Option<u64>,
    ) -> Fields {
        let mut fields = entry::fields(message, &self.member.payload_field, 4);
        let mut note = |name, value: String| fields.push((Key::from_static_str(name), Value::from(value)));
        note(ORIGIN, id(origin.token));
        note(ATTEMPTS, attempts.to_string());
        note(SOURCE, id(token));
        if let Some(first_failed_ms) = first_failed_ms {
            note(FIRST_FAILED, first_failed_ms.to_string());
        }
        fields
    }

    fn dead_fields(&self, message: &Message, origin: Position, attempts: u32, failure: &Failure) -> Fields {
        let mut fields = entry::fields(message, &self.member.payload_field, 6);
        let mut note = |name, value: Bytes| fields.push((Key::from_static_str(name), Value::from(value)));
        note(REASON, Bytes::from(failure.reason.clone()));
        note(ATTEMPTS, attempts.to_string().into());
        note(ORIGIN, format!("{}@{}", self.member.keys.stream, id(origin.token)).into());
        note(GROUP, Bytes::from(self.member.keys.group.clone()));
        note(FIRST_FAILED, failure.first_failed_ms.to_string().into());
        note(LAST_FAILED, failure.last_failed_ms.to_string().into());
        fields
    }

    /// Hands deliveries back to the group, each with its attempts; returns those that came too late. A suspect that
    /// nobody tried stays one, with the deliveries that it had.
    pub(super) async fn hand_back(&self, returned: &[(Token, u32)], again: bool) -> Result<Vec<Token>> {
        if returned.is_empty() {
            return Ok(Vec::new());
        }
        // Others may take these at once, lease or no lease.
        lock(&self.member.fence).doubt();
        let (mut innocent, mut suspect) = (Vec::new(), Vec::new());
        {
            let suspects = lock(&self.member.suspects);
            for (token, attempts) in returned {
                match suspects.get(token).filter(|suspect| suspect.is_untried(*attempts)) {
                    Some(untried) => suspect.push((*token, untried.deliveries)),
                    None => innocent.push((*token, u64::from(*attempts))),
                }
            }
        }
        let mut lost = self.give(RETURNED, &innocent, again).await?;
        lost.extend(self.give(SUSPECTS, &suspect, again).await?);
        let mut suspects = lock(&self.member.suspects);
        for (token, _) in returned {
            suspects.remove(token);
        }
        Ok(lost)
    }

    /// Gives deliveries to a consumer, each with its attempts; returns those that came too late.
    pub(super) async fn give(&self, target: &str, given: &[(Token, u64)], again: bool) -> Result<Vec<Token>> {
        let mut lost = Vec::new();
        for page in given.chunks(PAGE) {
            lost.extend(self.give_page(target, page, again).await?);
        }
        Ok(lost)
    }

    async fn give_page(&self, target: &str, page: &[(Token, u64)], again: bool) -> Result<Vec<Token>> {
        const OPERATION: &str = "give back";
        let leaves = target != self.member.name;
        let mut page = page.to_vec();
        if leaves {
            // What is gone from the stream and goes back unhandled is lost to the group.
            let before = page.len();
            let mut gone = lock(&self.member.gone);
            page.retain(|(token, _)| !gone.remove(token));
            self.member.lost_from_stream((before - page.len()) as u64);
        }
        let tokens: Vec<Token> = page.iter().map(|(token, _)| *token).collect();
        let answer = self.member.run(OPERATION, &GIVE, &[], || {
            let mut arguments: Vec<Value> = vec![target.into(), mark(again)];
            for (token, attempts) in &page {
                arguments.extend([mark(is_retried(*token)), id(*token).into(), (*attempts as i64).into()]);
            }
            arguments
        });
        let [lost, gone] = elements(OPERATION, answer.await?)?;
        let at = |places: Vec<u64>| -> Vec<Token> {
            places.into_iter().filter_map(|place| tokens.get(usize::try_from(place).ok()?).copied()).collect()
        };
        let gone = at(places(OPERATION, gone)?);
        if leaves {
            self.member.lost_from_stream(gone.len() as u64);
        } else {
            lock(&self.member.gone).add_held(gone);
        }
        Ok(at(places(OPERATION, lost)?))
    }

    /// Gives back what the engine names, and suspects of which it never heard since the answer to their claim was lost.
    pub(super) async fn give_back(&self, returned: &[Returned]) -> Result<()> {
        let returned: Vec<(Token, u32)> = returned.iter().map(|one| (one.token, one.attempts)).collect();
        self.hand_back(&returned, false).await?;
        let unheard = |(token, suspect): (&Token, &Suspect)| (*token, suspect.deliveries);
        let unheard: Vec<(Token, u64)> = lock(&self.member.suspects).iter().map(unheard).collect();
        self.give(SUSPECTS, &unheard, true).await.map(drop)
    }

    /// Gives back whatever the server still says is this member's, and has the server forget the member.
    pub(super) async fn forget_member(&self) -> Result<()> {
        const OPERATION: &str = "leave";
        loop {
            let [gone, more] = elements(OPERATION, self.member.run(OPERATION, &LEAVE, &[], Vec::new).await?)?;
            self.member.lost_from_stream(count(OPERATION, &gone)?);
            if count(OPERATION, &more)? == 0 {
                break;
            }
        }
        let (stream, group) = (&self.member.keys.stream, &self.member.keys.group);
        let untold = self.member.missing.swap(0, Ordering::Relaxed);
        if untold > 0 {
            // No fetch follows that could say so.
            tracing::warn!(count = untold, %stream, %group, "messages vanished from the stream before they were handled");
        }
        Ok(())
    }
}

/// How a message leaves its stream otherwise than by an ack.
struct WayOut<'a> {
    operation: &'static str,
    script: &'a Script,
    /// The key that it goes to.
    to: &'a str,
    delay_ms: Option<i64>,
}

//! Settlements that are no acks: later, dead, kept, given back.

use bytes::Bytes;
use fred::types::{Key, Value};
use zephcast_core::driver::{Disposition, Failure, Returned};
use zephcast_core::{Message, Position, Result, Token};

use super::{PAGE, RedisSettler, mark, places};
use crate::entry::{self, ATTEMPTS, FIRST_FAILED, Fields, GROUP, LAST_FAILED, ORIGIN, REASON, SOURCE};
use crate::member::{RETURNED, lock};
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
            Disposition::Later { delay, attempts, message, origin, failure } => {
                let fields = self.later_fields(token, message, *origin, *attempts, failure.as_ref());
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                let done =
                    self.take_out(("schedule for later", &LATER, &keys.delayed), token, again, Some(delay_ms), &fields);
                let done = done.await?;
                self.member.schedule(*delay);
                done
            }
            Disposition::Dead { message, origin, attempts, failure } => {
                let fields = self.dead_fields(message, *origin, *attempts, failure);
                let done = self.take_out(("dead-letter", &DEAD, &keys.dead), token, again, None, &fields);
                done.await?
            }
            Disposition::Keep { .. } | Disposition::Return { .. } => true,
        };
        Ok((!done).then_some(token))
    }

    /// Writes an entry elsewhere and settles it, at once; whether it was still this member's.
    async fn take_out(
        &self,
        (operation, script, to): (&'static str, &Script, &str),
        token: Token,
        again: bool,
        delay_ms: Option<i64>,
        fields: &Fields,
    ) -> Result<bool> {
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
        failure: Option<&Failure>,
    ) -> Fields {
        let mut fields = entry::fields(message, &self.member.payload_field, 4);
        let mut note = |name, value: String| fields.push((Key::from_static_str(name), Value::from(value)));
        note(ORIGIN, id(origin.token));
        note(ATTEMPTS, attempts.to_string());
        note(SOURCE, id(token));
        if let Some(failure) = failure {
            note(FIRST_FAILED, failure.first_failed_ms.to_string());
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

    /// Keeps deliveries (`true`) or gives them back, each with its attempts; returns those that came too late.
    pub(super) async fn give(&self, given: &[(Token, u32, bool)], again: bool) -> Result<Vec<Token>> {
        let mut lost = Vec::new();
        for keep in [true, false] {
            let some: Vec<(Token, u32)> = given
                .iter()
                .filter(|(_, _, kept)| *kept == keep)
                .map(|(token, attempts, _)| (*token, *attempts))
                .collect();
            if !keep && !some.is_empty() {
                // Others may take these at once, lease or no lease.
                lock(&self.member.fence).doubt();
            }
            let target = if keep { self.member.name.as_str() } else { RETURNED };
            for page in some.chunks(PAGE) {
                lost.extend(self.give_page(target, page, again).await?);
            }
        }
        Ok(lost)
    }

    async fn give_page(&self, target: &str, page: &[(Token, u32)], again: bool) -> Result<Vec<Token>> {
        const OPERATION: &str = "give back";
        let page: Vec<&(Token, u32)> = {
            // What is gone from the stream and goes back unhandled is lost to the group.
            let gone = lock(&self.member.gone);
            page.iter().filter(|(token, _)| !gone.contains(token) || target != RETURNED).collect()
        };
        let tokens: Vec<Token> = page.iter().map(|(token, _)| *token).collect();
        let answer = self.member.run(OPERATION, &GIVE, &[], || {
            let mut arguments: Vec<Value> = vec![target.into(), mark(again)];
            for (token, attempts) in &page {
                arguments.extend([mark(is_retried(*token)), id(*token).into(), i64::from(*attempts).into()]);
            }
            arguments
        });
        let [lost, gone] = elements(OPERATION, answer.await?)?;
        let at = |places: Vec<u64>| -> Vec<Token> {
            places.into_iter().filter_map(|place| tokens.get(usize::try_from(place).ok()?).copied()).collect()
        };
        let gone = at(places(OPERATION, gone)?);
        if target == RETURNED {
            self.member.lost_from_stream(gone.len() as u64);
        } else {
            lock(&self.member.gone).extend(gone);
        }
        Ok(at(places(OPERATION, lost)?))
    }

    /// Gives everything back and forgets the member.
    pub(super) async fn give_back(&self, returned: &[Returned]) -> Result<()> {
        const OPERATION: &str = "leave";
        let given: Vec<(Token, u32, bool)> =
            returned.iter().map(|returned| (returned.token, returned.attempts, false)).collect();
        self.give(&given, false).await?;
        loop {
            let [gone, more] = elements(OPERATION, self.member.run(OPERATION, &LEAVE, &[], Vec::new).await?)?;
            self.member.lost_from_stream(count(OPERATION, &gone)?);
            if count(OPERATION, &more)? == 0 {
                return Ok(());
            }
        }
    }
}

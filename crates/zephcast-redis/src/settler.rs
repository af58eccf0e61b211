//! The settling half of a member.

mod give;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fred::types::Value;
use futures_util::future::try_join_all;
use zephcast_core::driver::{Disposition, Renewal, Returned, Settlement, Settler};
use zephcast_core::{ErrorKind, Result, Token, UnitId};

use crate::error::error;
use crate::intake::UNIT;
use crate::keeper::Keeper;
use crate::member::{Member, lock};
use crate::reader::unblock;
use crate::reply::{Frame, array, count, elements, number};
use crate::scripts::{ACK, RENEW};
use crate::token::Ids;

/// The most ids of one script.
const PAGE: usize = 1_000;

pub(crate) struct RedisSettler {
    member: Arc<Member>,
    keeper: Keeper,
    /// What calls without an answer may have settled: settling it again is no lease lost.
    unanswered: Mutex<HashSet<Token>>,
}

impl RedisSettler {
    pub(crate) fn new(member: Arc<Member>, keeper: Keeper) -> Self {
        Self { member, keeper, unanswered: Mutex::default() }
    }
}

#[async_trait]
impl Settler for RedisSettler {
    async fn settle(&self, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        let mut lost = Vec::new();
        for unit in &settlement.units {
            for tokens in unit.acked.chunks(PAGE) {
                let tokens = self.without_gone(tokens);
                lost.extend(self.remember(&tokens, self.ack(&tokens)).await?);
            }
            lost.extend(self.settle_others(&unit.others).await?);
        }
        Ok(lost.into_iter().map(|token| (UNIT, token)).collect())
    }

    async fn renew(&self, renewal: Renewal) -> Result<Vec<(UnitId, Token)>> {
        let mut held: Vec<Token> = renewal.held.into_iter().flat_map(|held| held.tokens).collect();
        {
            let gone = lock(&self.member.gone);
            held.retain(|token| !gone.contains(token));
        }
        held.extend(lock(&self.member.buffered).iter());
        let oldest = renewal.oldest.map_or(0, |oldest| i64::try_from(oldest.as_millis()).unwrap_or(i64::MAX));
        let mut lost = Vec::new();
        let mut first = None;
        let mut pages = held.chunks(PAGE);
        // Also without anything held, since it says that the member lives.
        let mut page = pages.next().unwrap_or_default();
        loop {
            let now = self.renew_page(page, oldest, &mut lost).await?;
            first = first.or(Some(now));
            match pages.next() {
                Some(next) => page = next,
                None => break,
            }
        }
        if let Some(now) = first {
            lock(&self.member.fence).renewed(now);
        }
        let mut buffered = lock(&self.member.buffered);
        lost.retain(|token| !buffered.remove(token));
        Ok(lost.into_iter().map(|token| (UNIT, token)).collect())
    }

    fn interrupt(&self) {
        self.member.interrupts.notify_one();
    }

    async fn leave(&self, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        self.keeper.stop();
        let leaving = async {
            unblock(&self.member).await;
            self.give_back(&returned).await
        };
        tokio::time::timeout(deadline, leaving).await.unwrap_or_else(|_| {
            let text = format!("did not leave within {deadline:?}; others take over after the lease");
            Err(error(ErrorKind::Timeout, "leave", text))
        })
    }
}

impl RedisSettler {
    /// Acks at most a page of tokens; returns those that came too late.
    async fn ack(&self, tokens: &[Token]) -> Result<Vec<Token>> {
        const OPERATION: &str = "ack";
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let ids = Ids::new(tokens);
        let again = self.is_unanswered(tokens);
        let deadline = lock(&self.member.fence).deadline();
        let answer = self.member.run(OPERATION, &ACK, &[], || {
            let mut arguments: Vec<Value> = Vec::with_capacity(3 + ids.tokens.len());
            arguments.extend([(deadline as i64).into(), again.into(), (ids.of_stream as i64).into()]);
            arguments.extend(ids.values());
            arguments
        });
        let places = places(OPERATION, answer.await?)?;
        Ok(ids.at(&places))
    }

    async fn settle_others(&self, others: &[(Token, Disposition)]) -> Result<Vec<Token>> {
        let mut given = Vec::new();
        let mut single = Vec::new();
        for (token, disposition) in others {
            match disposition {
                Disposition::Keep { attempts } => given.push((*token, *attempts, true)),
                Disposition::Return { attempts } => given.push((*token, *attempts, false)),
                disposition => single.push(self.settle_one(*token, disposition)),
            }
        }
        let mut lost: Vec<Token> = try_join_all(single).await?.into_iter().flatten().collect();
        lost.extend(self.give(&given).await?);
        Ok(lost)
    }

    /// Renews at most a page of tokens; returns the server's time.
    async fn renew_page(&self, tokens: &[Token], oldest: i64, lost: &mut Vec<Token>) -> Result<u64> {
        const OPERATION: &str = "renew the lease";
        let ids = Ids::new(tokens);
        let answer = self.member.run(OPERATION, &RENEW, &[], || {
            let mut arguments: Vec<Value> = vec![self.member.lease_ms().into(), oldest.into()];
            arguments.push((ids.of_stream as i64).into());
            arguments.extend(ids.values());
            arguments
        });
        let [now, others, gone] = elements(OPERATION, answer.await?)?;
        if number(OPERATION, &now)? < 0 {
            self.member.set_replaced();
            lost.extend(tokens);
            return Ok(0);
        }
        lost.extend(ids.at(&places(OPERATION, others)?));
        lock(&self.member.gone).extend(ids.at(&places(OPERATION, gone)?));
        count(OPERATION, &now)
    }

    /// Runs a settlement of these tokens and remembers them while it has no answer.
    async fn remember<T>(&self, tokens: &[Token], settling: impl Future<Output = Result<T>>) -> Result<T> {
        let settled = settling.await;
        let mut unanswered = lock(&self.unanswered);
        match &settled {
            Ok(_) if unanswered.is_empty() => {}
            Ok(_) => tokens.iter().for_each(|token| {
                unanswered.remove(token);
            }),
            Err(_) => unanswered.extend(tokens),
        }
        settled
    }

    fn is_unanswered(&self, tokens: &[Token]) -> &'static str {
        let unanswered = lock(&self.unanswered);
        let any = !unanswered.is_empty() && tokens.iter().any(|token| unanswered.contains(token));
        if any { "1" } else { "0" }
    }

    /// Without those that are gone from the stream: nothing is left of them to ack.
    fn without_gone(&self, tokens: &[Token]) -> Vec<Token> {
        let mut gone = lock(&self.member.gone);
        if gone.is_empty() {
            return tokens.to_vec();
        }
        tokens.iter().copied().filter(|token| !gone.remove(token)).collect()
    }
}

/// Places in a list of ids.
fn places(operation: &'static str, frame: Frame) -> Result<Vec<u64>> {
    array(operation, frame)?.iter().map(|place| count(operation, place)).collect()
}
